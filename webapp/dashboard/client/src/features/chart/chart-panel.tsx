import { useQuery } from '@tanstack/react-query';
import { useEffect, useMemo, useRef, useState } from 'react';

import type {
  Candle,
  Candles,
  Order,
  Position,
  Qfh,
  QfhPoint,
  Signal,
} from '../../shared/api/model';
import {
  candlesQuery,
  marketQuery,
  ordersQuery,
  positionsQuery,
  qfhQuery,
  signalsQuery,
} from '../../shared/api/queries';
import { secondsOf } from '../../shared/chart-time';
import { decimalsOf, instrumentText, priceText, signOf } from '../../shared/format';
import { useShade } from '../../shared/theme';
import { Answer, StaleMark } from '../../shared/ui/panel';
import { EventCard, MetricLegend, PriceLegend } from './legend';
import { eventsByBar, marksOf } from './marks';
import type { MetricName } from './metrics';
import { useOlderBars } from './older';
import { PriceChart, type Hover, type PriceLine } from './price-chart';
import './chart.css';

type ChartPanelProps = { instrument: string; granularity: string };

/** Seconds of a bar by granularity, as far as the chart must know. */
const BAR_S: Record<string, number> = { M1: 60, M5: 300, M15: 900, H1: 3_600, H4: 14_400 };

const NO_POINTS: QfhPoint[] = [];
const NO_SIGNALS: Signal[] = [];
const NO_ORDERS: Order[] = [];
const NO_POSITIONS: Position[] = [];

export function ChartPanel({ instrument, granularity }: ChartPanelProps) {
  const candles = useQuery(candlesQuery(instrument, granularity));
  const qfh = useQuery(qfhQuery(instrument, granularity));
  return (
    <section className="panel chart" data-view="chart" aria-label={`Chart of ${instrument}`}>
      <Answer
        query={candles}
        what="candles"
        empty={(data) =>
          data.candles.length === 0 ? 'No candles are stored for this instrument yet.' : null
        }
      >
        {(data) => (
          <Chart data={data} qfh={qfh.data} qfhError={qfh.error} granularity={granularity} />
        )}
      </Answer>
    </section>
  );
}

type ChartProps = {
  data: Candles;
  qfh: Qfh | undefined;
  qfhError: Error | null;
  granularity: string;
};

function Chart({ data, qfh, qfhError, granularity }: ChartProps) {
  const { instrument } = data;
  const older = useOlderBars(instrument, granularity, data.candles, qfh?.points ?? NO_POINTS);
  const { candles, points, more } = older;
  const container = useRef<HTMLDivElement>(null);
  const [chart, setChart] = useState<PriceChart | null>(null);
  const [hover, setHover] = useState<Hover>(null);
  const [shown, setShown] = useState<ReadonlySet<MetricName>>(new Set(['coherence', 'entropy']));
  const [away, setAway] = useState(false);
  const [priceHeight, setPriceHeight] = useState(0);
  const shade = useShade();

  const forming = useQuery(marketQuery(instrument)).data?.bar ?? null;
  const signals = useQuery(signalsQuery).data ?? NO_SIGNALS;
  const placed = useQuery(ordersQuery).data ?? NO_ORDERS;
  const orders = useMemo(
    () => placed.filter((order) => order.instrument === instrument),
    [placed, instrument],
  );
  const positions = useQuery(positionsQuery).data ?? NO_POSITIONS;

  const decimals = decimalsOf(candles.at(-1)?.close ?? null);
  const events = useMemo(
    () => eventsByBar(candles, BAR_S[granularity] ?? 3_600, signals, orders),
    [candles, granularity, signals, orders],
  );
  const lines = useMemo(
    () => linesOf(positions, orders, instrument, decimals),
    [positions, orders, instrument, decimals],
  );

  useEffect(() => {
    if (container.current === null) return;
    const made = new PriceChart(container.current, setHover, setAway);
    const sizes = new ResizeObserver(() => {
      requestAnimationFrame(() => {
        setPriceHeight(made.priceHeight);
      });
    });
    sizes.observe(container.current);
    setChart(made);
    return () => {
      sizes.disconnect();
      made.destroy();
      setChart(null);
    };
  }, []);
  useEffect(() => {
    chart?.paint();
  }, [chart, shade]);
  useEffect(() => {
    chart?.setCandles(candles, decimals);
  }, [chart, candles, decimals]);
  useEffect(() => {
    chart?.whenNearStart(more);
  });
  useEffect(() => {
    if (forming?.complete === false) chart?.setForming(forming);
  }, [chart, forming]);
  useEffect(() => {
    chart?.setPoints(points);
  }, [chart, points]);
  useEffect(() => {
    chart?.setMarks(marksOf(events));
  }, [chart, events]);
  useEffect(() => {
    chart?.setLines(lines);
  }, [chart, lines, shade]);
  useEffect(() => {
    chart?.showMetrics(shown);
  }, [chart, shown]);

  const at = hover?.time ?? null;
  const bar = at === null ? lastBar(candles, forming) : findAt(candles, at, (c) => c.start);
  const point = at === null ? points.at(-1) : findAt(points, at, (p) => p.time);
  const onBar = at === null ? undefined : events.get(at);

  return (
    <>
      <header className="chart-head">
        <h2>
          {instrumentText(instrument)} <span>{granularity}</span>
          {data.price_side === null ? null : <span>{data.price_side}</span>}
        </h2>
        <PriceLegend bar={bar} decimals={decimals} />
        <StaleMark />
      </header>
      <div className="chart-area">
        <div
          ref={container}
          className="chart-canvas"
          role="group"
          aria-label={
            `${candles.length} candles of ${instrumentText(instrument)} with signals and fills; ` +
            'below, coin percentiles of the metrics'
          }
        />
        <OlderBars isReading={older.isReading} error={older.error} onRetry={older.retry} />
        <div className="metric-place" style={{ top: priceHeight + 4 }}>
          <MetricLegend
            point={point}
            shown={shown}
            onToggle={(name) => {
              setShown((now) => toggled(now, name));
            }}
          />
          {qfhError === null ? null : (
            <p role="alert">The metrics could not be read. {qfhError.message}</p>
          )}
        </div>
        {away ? (
          <button type="button" className="to-end" onClick={() => chart?.goToEnd()}>
            Newest bar →
          </button>
        ) : null}
        {hover === null || onBar === undefined ? null : (
          <EventCard
            events={onBar}
            hover={hover}
            decimals={decimals}
          />
        )}
      </div>
    </>
  );
}

type OlderBarsProps = { isReading: boolean; error: Error | null; onRetry: () => void };

/** How it stands with the bars before those that are drawn; nothing while none are asked for. */
function OlderBars({ isReading, error, onRetry }: OlderBarsProps) {
  if (isReading) {
    return (
      <p className="older-bars loading" role="status">
        Reading older bars
      </p>
    );
  }
  if (error === null) return null;
  return (
    <p className="older-bars" role="alert">
      Older bars could not be read. {error.message}{' '}
      <button type="button" onClick={onRetry}>
        Try again
      </button>
    </p>
  );
}

/** The newest bar: the one that is forming, once there is one. */
function lastBar(candles: readonly Candle[], forming: Candle | null): Candle | undefined {
  const last = candles.at(-1);
  if (forming === null || last === undefined) return forming ?? last;
  return secondsOf(forming.start) > secondsOf(last.start) ? forming : last;
}

function findAt<Item>(
  items: readonly Item[],
  time: number,
  startOf: (item: Item) => string,
): Item | undefined {
  return items.findLast((item) => secondsOf(startOf(item)) === time);
}

function toggled(shown: ReadonlySet<MetricName>, name: MetricName): ReadonlySet<MetricName> {
  const next = new Set(shown);
  if (!next.delete(name)) next.add(name);
  return next;
}

function linesOf(
  positions: readonly Position[],
  orders: readonly Order[],
  instrument: string,
  decimals: number,
): PriceLine[] {
  const ours = positions.filter((position) => position.instrument === instrument);
  const targets = orders.filter(
    ({ type, state }) => type === 'TAKE_PROFIT' && state === 'ACCEPTED',
  );
  const lines = [
    ...ours.map(({ units, average_price }) => ({
      price: average_price,
      title: signOf(units) < 0 ? 'short' : 'long',
      colour: '--accent',
      dashed: false,
    })),
    ...ours.map(({ stop_loss }) => ({
      price: stop_loss,
      title: 'stop',
      colour: '--down',
      dashed: true,
    })),
    ...targets.map(({ price }) => ({ price, title: 'target', colour: '--up', dashed: true })),
  ];
  return lines.flatMap(({ price, ...line }) =>
    price === null ? [] : [{ ...line, price: Number(priceText(price, decimals)) }],
  );
}
