import { QueryClient } from '@tanstack/react-query';
import { beforeEach, expect, test } from 'vitest';

import {
  barAt,
  marketAt,
  orderWith,
  performanceWith,
  positionWith,
  signalWith,
  statusWith,
} from '../../../tests/samples';
import { LiveCache } from './live';
import type * as model from './model';
import {
  candlesQuery,
  equityQuery,
  marketQuery,
  ordersQuery,
  performanceQuery,
  positionsQuery,
  qfhQuery,
  signalsQuery,
  statusQuery,
  tradesQuery,
} from './queries';

let client: QueryClient;
let cache: LiveCache;
let alerts: model.Alert[];
let seq: number;

const candlesKey = candlesQuery('EUR_USD', 'H1').queryKey;
const orderIds = () => client.getQueryData(ordersQuery.queryKey)?.map(({ id }) => id);
const barStarts = () =>
  client.getQueryData(candlesKey)?.candles.map(({ start }) => Number(start.slice(11, 13)));
const isStale = (queryKey: readonly unknown[]) =>
  client.getQueryCache().find({ queryKey })?.state.isInvalidated;

function happens(stream: string, type: string, data: unknown): void {
  seq += 1;
  cache.take({ stream, seq, time: '2026-01-01T00:00:00Z', type, data });
}

function marketMoves(update: model.MarketUpdate): void {
  happens('market.EUR_USD', 'market_update', update);
}

function holdBars(hours: number[], feed_cursor: number): void {
  client.setQueryData(candlesKey, {
    instrument: 'EUR_USD',
    granularity: 'H1',
    price_side: 'ask',
    source: 'eur_usd_h1',
    candles: hours.map(barAt),
    feed_cursor,
  });
}

beforeEach(() => {
  client = new QueryClient();
  alerts = [];
  seq = 0;
  cache = new LiveCache(client, (alert) => alerts.push(alert));
  client.setQueryData(statusQuery.queryKey, statusWith({}));
});

test('an order appears at the top and then changes in its place', () => {
  client.setQueryData(ordersQuery.queryKey, [orderWith({ id: 3 })]);
  happens('orders', 'order_update', orderWith({ id: 4 }));
  happens('orders', 'order_update', orderWith({ id: 3, state: 'FILLED' }));
  expect(orderIds()).toEqual([4, 3]);
  expect(client.getQueryData(ordersQuery.queryKey)?.[1]?.state).toBe('FILLED');
});

test('an event twice is as good as once', () => {
  client.setQueryData(signalsQuery.queryKey, []);
  happens('signals', 'trading_signal', signalWith({ id: 1 }));
  happens('signals', 'trading_signal', signalWith({ id: 1 }));
  expect(client.getQueryData(signalsQuery.queryKey)).toHaveLength(1);
});

test('an event for a resource that was never read makes none up', () => {
  happens('orders', 'order_update', orderWith({}));
  expect(orderIds()).toBeUndefined();
});

test('an event that does not read as its type has its resource read again', () => {
  client.setQueryData(ordersQuery.queryKey, [orderWith({})]);
  happens('orders', 'order_update', { id: 'one' });
  expect(isStale(ordersQuery.queryKey)).toBe(true);
});

test('a position that holds nothing leaves', () => {
  client.setQueryData(positionsQuery.queryKey, [positionWith({})]);
  happens('positions', 'position_update', positionWith({ units: '0.0000000000' }));
  expect(client.getQueryData(positionsQuery.queryKey)).toEqual([]);
});

test('an event that knows no price takes none from the same position', () => {
  client.setQueryData(positionsQuery.queryKey, [positionWith({ open_pl: '1.00' })]);
  happens('positions', 'position_update', positionWith({ mark: null, open_pl: null }));
  expect(client.getQueryData(positionsQuery.queryKey)?.[0]?.open_pl).toBe('1.00');
  expect(isStale(positionsQuery.queryKey)).toBe(true);
});

test('a fill has account and trades read again at once, not with the next bar', () => {
  client.setQueryData(performanceQuery.queryKey, performanceWith({}));
  client.setQueryData(tradesQuery.queryKey, []);
  happens('positions', 'position_update', positionWith({ mark: null, open_pl: null }));
  expect(isStale(performanceQuery.queryKey)).toBe(true);
  expect(isStale(tradesQuery.queryKey)).toBe(true);
});

test('an event about another size of the position takes its worth away until it is read', () => {
  client.setQueryData(positionsQuery.queryKey, [positionWith({ open_pl: '1.00' })]);
  const grown = positionWith({ units: '2000', mark: null, open_pl: null });
  happens('positions', 'position_update', grown);
  expect(client.getQueryData(positionsQuery.queryKey)?.[0]?.open_pl).toBeNull();
});

test('new figures add a point to the equity line and have the positions valued again', () => {
  client.setQueryData(equityQuery.queryKey, { points: [] });
  client.setQueryData(positionsQuery.queryKey, [positionWith({})]);
  happens('performance', 'performance_update', performanceWith({ equity: '100003.00' }));
  expect(client.getQueryData(performanceQuery.queryKey)?.equity).toBe('100003.00');
  expect(client.getQueryData(equityQuery.queryKey)?.points).toEqual([
    {
      time: '2017-05-01T08:00:00Z',
      created_at: '2026-01-01T00:00:00Z',
      equity: '100003.00',
      balance: '100000.00',
    },
  ]);
  expect(isStale(positionsQuery.queryKey)).toBe(true);
});

test('a complete bar is added to the candles, its metrics to their series', () => {
  holdBars([8, 9], 2002);
  client.setQueryData(qfhQuery('EUR_USD', 'H1').queryKey, {
    instrument: 'EUR_USD',
    window: 64,
    encoding: 'moves',
    engine: '0.1.0',
    as_of: null,
    points: [],
  });
  marketMoves(marketAt(10, 2003));
  expect(barStarts()).toEqual([8, 9, 10]);
  expect(client.getQueryData(qfhQuery('EUR_USD', 'H1').queryKey)?.points).toEqual([
    {
      time: '2017-05-01T10:00:00Z',
      metrics: { coherence: 0.1 },
      percentiles: { coherence: 88 },
    },
  ]);
  expect(client.getQueryData(statusQuery.queryKey)?.feed?.cursor).toBe(2003);
});

test('a bar that is forming changes the market, not the candles', () => {
  holdBars([8, 9], 2002);
  const update = marketAt(10, 2002);
  marketMoves({ ...update, bar: { ...barAt(10), complete: false } });
  expect(barStarts()).toEqual([8, 9]);
  expect(client.getQueryData(marketQuery('EUR_USD').queryKey)?.bar?.complete).toBe(false);
});

test('a bar that the candles hold already changes nothing', () => {
  holdBars([8, 9], 2002);
  marketMoves(marketAt(8, 2001));
  expect(barStarts()).toEqual([8, 9]);
  expect(isStale(candlesKey)).toBe(false);
});

test('a missed bar has the candles read again', () => {
  holdBars([8, 9], 2002);
  marketMoves(marketAt(11, 2004));
  expect(barStarts()).toEqual([8, 9, 11]);
  expect(isStale(candlesKey)).toBe(true);
});

test('a replay that begins again has everything read again', () => {
  holdBars([8, 9], 2002);
  client.setQueryData(ordersQuery.queryKey, []);
  marketMoves(marketAt(10, 2003));
  expect(isStale(ordersQuery.queryKey)).toBe(false);
  marketMoves(marketAt(8, 2001));
  expect(isStale(ordersQuery.queryKey)).toBe(true);
  expect(isStale(candlesKey)).toBe(true);
});

test('a restart that was asked for has everything read again once it is done', () => {
  const { feed } = statusWith({});
  const tell = (change: object) => {
    happens('system', 'system_status', statusWith({ feed: { ...feed, ...change } }));
  };
  client.setQueryData(ordersQuery.queryKey, []);
  tell({ restart_requested: true });
  expect(isStale(ordersQuery.queryKey)).toBe(false);
  tell({ restart_requested: false, cursor: 2000 });
  expect(isStale(ordersQuery.queryKey)).toBe(true);
});

test('the status comes with its event', () => {
  happens('system', 'system_status', statusWith({ trading: { state: 'HALTED', reason: 'test' } }));
  expect(client.getQueryData(statusQuery.queryKey)?.trading.state).toBe('HALTED');
});

test('an alert is handed on', () => {
  happens('alerts', 'alert', { level: 'error', text: 'The books differ.' });
  expect(alerts).toEqual([{ level: 'error', text: 'The books differ.' }]);
});

test('an event that overtakes the answer of its resource is not undone by it', async () => {
  const stop = cache.follow();
  let answer: (rows: model.Order[]) => void = () => undefined;
  const reading = client.query({
    queryKey: ordersQuery.queryKey,
    queryFn: () => new Promise<model.Order[]>((resolve) => (answer = resolve)),
  });
  await Promise.resolve();
  happens('orders', 'order_update', orderWith({ id: 5, state: 'FILLED' }));
  answer([orderWith({ id: 5, state: 'QUEUED' }), orderWith({ id: 4 })]);
  await reading;
  expect(client.getQueryData(ordersQuery.queryKey)?.map(({ id, state }) => [id, state])).toEqual([
    [5, 'FILLED'],
    [4, 'QUEUED'],
  ]);
  stop();
});

test('a market event that is written again does not look like a restart', async () => {
  const stop = cache.follow();
  let answer: (market: null) => void = () => undefined;
  const reading = client.query({
    queryKey: marketQuery('EUR_USD').queryKey,
    queryFn: () => new Promise<null>((resolve) => (answer = resolve)),
  });
  await Promise.resolve();
  client.setQueryData(ordersQuery.queryKey, []);
  marketMoves(marketAt(10, 2003));
  marketMoves(marketAt(11, 2004));
  answer(null);
  await reading;
  expect(client.getQueryData(marketQuery('EUR_USD').queryKey)?.bar?.start).toBe(
    '2017-05-01T11:00:00Z',
  );
  expect(isStale(ordersQuery.queryKey)).toBe(false);
  stop();
});
