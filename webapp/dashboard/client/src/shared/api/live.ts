/**
 * Events of the socket, written into the query cache.
 *
 * An event carries what a GET of its resource answers, so writing it twice, or writing an older one
 * before a newer one, ends in the same place. Events that arrive while a resource is being read are
 * written again after the answer, which may be older than they are.
 */
import { matchQuery, type QueryClient, type QueryKey } from '@tanstack/react-query';

import { signOf } from '../format';
import type { Envelope } from './model';
import * as model from './model';
import {
  candlesQuery,
  equityQuery,
  healthQuery,
  marketQuery,
  ordersQuery,
  performanceQuery,
  positionsQuery,
  qfhQuery,
  reconciliationsQuery,
  signalsQuery,
  statusQuery,
  tradesQuery,
} from './queries';
import { dropRun, runsQuery, writeRun } from './research';

const BARS_MAX = 8_000;
const ROWS_MAX = 500;
const WAITING_MAX = 2_000;

/** Streams beside the instrument's own, and the resources whose truth they carry. */
const RESOURCES: Record<string, QueryKey[]> = {
  signals: [signalsQuery.queryKey],
  orders: [ordersQuery.queryKey, ['order']],
  positions: [positionsQuery.queryKey, tradesQuery.queryKey],
  performance: [performanceQuery.queryKey, equityQuery.queryKey],
  system: [statusQuery.queryKey, healthQuery.queryKey, reconciliationsQuery.queryKey],
  runs: [runsQuery.queryKey, ['run']],
  alerts: [],
};

const marketStream = (instrument: string): string => `market.${instrument}`;

/** Name of each stream that the page follows, and whether its events may never be skipped. */
export function followedStreams(instrument: string): Record<string, { gapless: boolean }> {
  const gapless = Object.fromEntries(
    Object.keys(RESOURCES).map((name) => [name, { gapless: true }]),
  );
  // A slow page is spared quotes that newer quotes have overtaken.
  return { ...gapless, [marketStream(instrument)]: { gapless: false } };
}

/** Keys of the resources to read again when a stream's events were missed. */
function resourcesOf(stream: string): QueryKey[] {
  if (!stream.startsWith('market.')) return RESOURCES[stream] ?? [];
  const instrument = stream.slice('market.'.length);
  return [
    marketQuery(instrument).queryKey,
    ['candles', instrument],
    ['qfh', instrument],
  ];
}

/** Writes events into a query cache; `follow` keeps them in step with answers under way. */
export class LiveCache {
  readonly #client: QueryClient;
  readonly #onAlert: (alert: model.Alert) => void;
  /** Where each instrument's replay was by its own stream, whose order is certain. */
  readonly #cursors = new Map<string, number>();
  readonly #waiting = new Map<string, Envelope[]>();

  constructor(client: QueryClient, onAlert: (alert: model.Alert) => void) {
    this.#client = client;
    this.#onAlert = onAlert;
  }

  /** Write events again once the answer that they overtook has come. Returns how to stop. */
  follow(): () => void {
    return this.#client.getQueryCache().subscribe((change) => {
      if (change.type !== 'updated' || change.action.type !== 'success') return;
      if (change.action.manual === true) return;
      for (const [stream, events] of this.#waiting) {
        if (resourcesOf(stream).some((queryKey) => matchQuery({ queryKey }, change.query))) {
          for (const event of events) this.#write(event, true);
        }
        if (!this.#isReading(stream)) this.#waiting.delete(stream);
      }
    });
  }

  /** Read the streams' resources again: what the cache holds may be old. */
  readAgain(streams: string[]): void {
    for (const stream of streams) {
      for (const queryKey of resourcesOf(stream)) void this.#client.invalidateQueries({ queryKey });
    }
  }

  take(event: Envelope): void {
    if (this.#isReading(event.stream)) {
      const waiting = this.#waiting.get(event.stream) ?? [];
      if (waiting.push(event) > WAITING_MAX) waiting.shift();
      this.#waiting.set(event.stream, waiting);
    }
    this.#write(event, false);
    if (event.stream === 'alerts') {
      const parsed = model.alert.safeParse(event.data);
      if (parsed.success) this.#onAlert(parsed.data);
    }
  }

  #isReading(stream: string): boolean {
    return resourcesOf(stream).some((queryKey) => this.#client.isFetching({ queryKey }) > 0);
  }

  /** An event that does not read as its type says means that its resource must be read. */
  #write(event: Envelope, again: boolean): void {
    const understood = this.#WRITERS[event.type]?.(event.data, again) ?? true;
    if (!understood) this.readAgain([event.stream]);
  }

  readonly #WRITERS: Record<string, (data: unknown, again: boolean) => boolean> = {
    market_update: (data, again) => {
      const { success, data: update } = model.marketUpdate.safeParse(data);
      if (!success) return false;
      if (!again) this.#noticeRestart(update);
      this.#writeMarket(update);
      return true;
    },
    trading_signal: (data) => {
      const { success, data: signal } = model.signal.safeParse(data);
      if (success) {
        this.#client.setQueryData(signalsQuery.queryKey, (rows) => upsertNewest(rows, signal));
      }
      return success;
    },
    order_update: (data) => {
      const { success, data: order } = model.order.safeParse(data);
      if (success) {
        this.#client.setQueryData(ordersQuery.queryKey, (rows) => upsertNewest(rows, order));
        void this.#client.invalidateQueries({ queryKey: ['order', order.id] });
      }
      return success;
    },
    position_update: (data) => {
      const { success, data: position } = model.position.safeParse(data);
      if (success) {
        this.#client.setQueryData(positionsQuery.queryKey, (rows) =>
          rows === undefined ? undefined : withPosition(rows, position),
        );
        if (position.mark === null) this.readAgain(['positions']);
        // A fill changes what the account has at once, not with the next bar.
        void this.#client.invalidateQueries({ queryKey: performanceQuery.queryKey });
        void this.#client.invalidateQueries({ queryKey: tradesQuery.queryKey });
      }
      return success;
    },
    reconciliation: () => {
      void this.#client.invalidateQueries({ queryKey: reconciliationsQuery.queryKey });
      return true;
    },
    run_update: (data) => writeRun(this.#client, data),
    run_deleted: (data) => dropRun(this.#client, data),
    performance_update: (data) => {
      const { success, data: figures } = model.performance.safeParse(data);
      if (success) this.#writePerformance(figures);
      return success;
    },
    system_status: (data, again) => {
      const { success, data: status } = model.status.safeParse(data);
      if (!success) return false;
      const before = this.#client.getQueryData(statusQuery.queryKey);
      this.#client.setQueryData(statusQuery.queryKey, status);
      const restarted = before?.feed?.restart_requested === true && !status.feed?.restart_requested;
      if (restarted && !again) this.#readEverything();
      return true;
    },
  };

  #writePerformance(figures: model.Performance): void {
    this.#client.setQueryData(performanceQuery.queryKey, figures);
    const { market_time: time, as_of, equity, balance } = figures;
    if (time === null || as_of === null || equity === null) return;
    const point = { time, created_at: as_of, equity, balance };
    this.#client.setQueryData(equityQuery.queryKey, (history) =>
      history === undefined
        ? undefined
        : { points: append(history.points, point, (each) => each.time) },
    );
    // A position's own event comes with its fills; what it is worth changes with every price.
    const held = this.#client.getQueryData(positionsQuery.queryKey) ?? [];
    if (held.length > 0) {
      void this.#client.invalidateQueries({ queryKey: positionsQuery.queryKey });
    }
  }

  #writeMarket(update: model.MarketUpdate): void {
    const { instrument, granularity, bar, qfh, quote, feed } = update;
    this.#client.setQueryData(marketQuery(instrument).queryKey, (before) => ({
      instrument,
      quote: quote ?? before?.quote ?? null,
      bar: bar ?? before?.bar ?? null,
      qfh: qfh ?? before?.qfh ?? null,
      age_s: 0,
    }));
    this.#writeFeed(update);
    if (!bar?.complete) return;

    const candlesKey = candlesQuery(instrument, granularity).queryKey;
    const held = this.#client.getQueryData(candlesKey);
    const cursor = held?.feed_cursor ?? feed.cursor - 1;
    if (held !== undefined && feed.cursor > cursor) {
      this.#client.setQueryData(candlesKey, {
        ...held,
        feed_cursor: feed.cursor,
        candles: append(held.candles, bar, ({ start }) => start),
      });
      if (feed.cursor > cursor + 1) this.readAgain([marketStream(instrument)]);
    }
    if (qfh === null) return;
    const point = { time: bar.start, metrics: qfh.metrics, percentiles: qfh.percentiles };
    this.#client.setQueryData(qfhQuery(instrument, granularity).queryKey, (series) =>
      series === undefined
        ? undefined
        : { ...series, as_of: qfh.as_of, points: append(series.points, point, ({ time }) => time) },
    );
  }

  /** A replay that went back began again, also when nobody said so. */
  #noticeRestart({ instrument, feed }: model.MarketUpdate): void {
    const wentBack = feed.cursor < (this.#cursors.get(instrument) ?? 0);
    this.#cursors.set(instrument, feed.cursor);
    if (wentBack) this.#readEverything();
  }

  /** After a restart nothing that is held is true any more. */
  #readEverything(): void {
    this.#cursors.clear();
    void this.#client.invalidateQueries();
  }

  /** Where the replay stands belongs to the status. */
  #writeFeed({ instrument, feed }: model.MarketUpdate): void {
    const status = this.#client.getQueryData(statusQuery.queryKey);
    if (!status?.feed || status.feed.instrument !== instrument) return;
    this.#client.setQueryData(statusQuery.queryKey, {
      ...status,
      feed: { ...status.feed, ...feed },
    });
  }
}

/** Put a row into a list of newest first: in its place if it is known, else by its id. */
function upsertNewest<Row extends { id: number }>(rows: Row[] | undefined, row: Row) {
  if (rows === undefined) return undefined;
  const known = rows.findIndex(({ id }) => id === row.id);
  if (known >= 0) return rows.with(known, row);
  return [row, ...rows].sort((a, b) => b.id - a.id).slice(0, ROWS_MAX);
}

/** Open positions by name; one that holds nothing is no position. */
function withPosition(rows: model.Position[], position: model.Position): model.Position[] {
  const isSame = ({ instrument, side }: model.Position): boolean =>
    instrument === position.instrument && side === position.side;
  const others = rows.filter((row) => !isSame(row));
  if (signOf(position.units) === 0) return others;
  const held = rows.find(isSame);
  const same = held?.units === position.units && held.average_price === position.average_price;
  // An event about a fill may know no price; what was known of the same position still holds.
  const { mark, open_pl, age_s } = same && position.mark === null ? held : position;
  return [...others, { ...position, mark, open_pl, age_s }].sort((a, b) =>
    a.instrument.localeCompare(b.instrument),
  );
}

/** Put an item at the end of a series of rising times, or in place of the last one. */
function append<Item>(items: Item[], item: Item, timeOf: (item: Item) => string): Item[] {
  const last = items.at(-1);
  const rise = last === undefined ? 1 : Date.parse(timeOf(item)) - Date.parse(timeOf(last));
  if (rise < 0) return items;
  if (rise === 0) return items.with(-1, item);
  return items.length < BARS_MAX ? [...items, item] : [...items.slice(1), item];
}
