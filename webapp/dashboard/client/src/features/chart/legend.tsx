import type { BarEvents } from './marks';
import { METRICS, type MetricName } from './metrics';
import type { Hover } from './price-chart';
import type { Candle, QfhPoint } from '../../shared/api/model';
import {
  marketTimeShort,
  metricText,
  percentileText,
  priceText,
  sideText,
  sizeText,
  wordsOf,
} from '../../shared/format';

type PriceLegendProps = { bar: Candle | undefined; decimals: number };

const SIDES = [
  ['O', 'open'],
  ['H', 'high'],
  ['L', 'low'],
  ['C', 'close'],
] as const;

/** Open, high, low and close of the bar under the crosshair, or of the last one. */
export function PriceLegend({ bar, decimals }: PriceLegendProps) {
  if (bar === undefined) return null;
  return (
    <dl className="price-legend">
      {SIDES.map(([letter, name]) => (
        <div key={name}>
          <dt>
            <abbr title={name}>{letter}</abbr>
          </dt>
          <dd className={Number(bar.close) < Number(bar.open) ? 'down' : 'up'}>
            {priceText(bar[name], decimals)}
          </dd>
        </div>
      ))}
      <div className="price-legend-time">
        <dt className="hidden">Bar</dt>
        <dd>{marketTimeShort(bar.start)} UTC</dd>
      </div>
    </dl>
  );
}

type MetricLegendProps = {
  point: QfhPoint | undefined;
  shown: ReadonlySet<MetricName>;
  onToggle: (name: MetricName) => void;
};

/** Raw value and coin percentile of each metric; pressing one shows or hides its line. */
export function MetricLegend({ point, shown, onToggle }: MetricLegendProps) {
  return (
    <div className="metric-legend" role="group" aria-label="Metrics shown">
      {METRICS.map(({ name }) => (
        <button
          key={name}
          type="button"
          data-metric={name}
          aria-pressed={shown.has(name)}
          title={`${name}: value, and its percentile among the windows of a fair coin`}
          onClick={() => {
            onToggle(name);
          }}
        >
          <span className="swatch" aria-hidden="true" />
          {name} <b>{metricText(point?.metrics[name])}</b>
          <span className="percentile">{percentileText(point?.percentiles[name])}</span>
        </button>
      ))}
    </div>
  );
}

type EventCardProps = { events: BarEvents; hover: NonNullable<Hover>; decimals: number };

const CARD_WIDTH_PX = 236;

/** What happened on the bar under the crosshair. */
export function EventCard({ events, hover, decimals }: EventCardProps) {
  const { x, y, width } = hover;
  const left = x + 16 + CARD_WIDTH_PX > width ? x - 16 - CARD_WIDTH_PX : x + 16;
  return (
    <div className="event-card" style={{ left: Math.max(4, left), top: Math.max(4, y - 24) }}>
      {events.signals.map((signal) => (
        <section key={`signal-${signal.id}`}>
          <h3 className={signal.direction === 'BUY' ? 'up' : 'down'}>
            {signal.direction === 'BUY' ? '▲' : '▼'} {signal.direction.toLowerCase()} signal
            <span>{signal.verdict}</span>
          </h3>
          <table>
            <tbody>
              {METRICS.map(({ name }) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td>{metricText(signal.metrics[name])}</td>
                  <td>{percentileText(signal.percentiles[name])}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <p>{signal.reason}</p>
        </section>
      ))}
      {events.fills.map(({ fill, order }) => (
        <section key={`fill-${fill.id}`}>
          <h3>
            ● {sideText(fill.units).toLowerCase()} {sizeText(fill.units)} at{' '}
            {priceText(fill.price, decimals)}
          </h3>
          <p>
            {wordsOf(order.origin)} {wordsOf(order.type)} order
            {fill.assumed_spread ? ', assumed spread' : ''}
          </p>
        </section>
      ))}
    </div>
  );
}
