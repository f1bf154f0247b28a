import type { DecimalText, OrderDetail } from '../../shared/api/model';
import {
  decimalsOf,
  instrumentText,
  marketTimeText,
  metricText,
  MISSING,
  percentileText,
  priceText,
  sideText,
  sizeText,
  wordsOf,
} from '../../shared/format';
import { TIME_WORDS } from '../../shared/order-words';
import { Link } from '../../shared/route';
import { Change } from '../../shared/ui/amount';
import { Heads } from '../../shared/ui/heads';
import { Checks, Facts, Life } from './order-records';
import { Standing } from './order-standing';
import { StateChip } from './order-state';
import './orders.css';

/** An order: its terms, what stands behind it, its checks, its life and the broker's own words. */
export function OrderDetailView({ order }: { order: OrderDetail }) {
  return (
    <div className="order-detail">
      <div>
        <Standing order={order} />
        <Terms order={order} />
        <Related order={order} />
        <Behind order={order} />
        <Fills order={order} />
      </div>
      <div>
        <Life order={order} />
        <Checks order={order} />
        <Facts order={order} />
      </div>
    </div>
  );
}

function Terms({ order }: { order: OrderDetail }) {
  const terms: [string, string | null][] = [
    ['Instrument', instrumentText(order.instrument)],
    ['Order', `${sideText(order.units)} ${sizeText(order.units)} ${wordsOf(order.type)}`],
    ['Filled', sizeText(order.filled_units)],
    ['Price', shown(order.price)],
    ['Average price', shown(order.average_price)],
    ['Stop loss', shown(order.stop_loss)],
    ['Take profit', shown(order.take_profit)],
    ['Stop, distance', optional(order.stop_distance)],
    ['Target, distance', optional(order.target_distance)],
    ['Trailing, distance', optional(order.trailing_distance)],
    ['Good', TIME_WORDS[order.time_in_force]],
    ['Until', order.good_until === null ? null : marketTimeText(order.good_until)],
    ['Fills', order.position_fill === 'DEFAULT' ? null : wordsOf(order.position_fill)],
    ['Reduce only', order.reduce_only ? 'yes' : 'no'],
    ['Of trade', order.trade_id === '' ? null : order.trade_id],
    ['By', order.created_by ?? wordsOf(order.origin)],
    ['Account', `${order.account.name}, ${order.account.kind}`],
    ['Market time', marketTimeText(order.market_time)],
    ['Client id', order.client_id],
    ['Venue id', order.venue_order_id === '' ? MISSING : order.venue_order_id],
  ];
  return (
    <dl className="terms">
      {terms.map(([name, value]) =>
        value === null ? null : (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ),
      )}
    </dl>
  );
}

function Related({ order }: { order: OrderDetail }) {
  if (order.related.length === 0) return null;
  return (
    <>
      <h3>Belongs with</h3>
      <ul className="related">
        {order.related.map((one) => (
          <li key={`${one.how} ${one.id}`}>
            <span className="soft">{one.how}</span>{' '}
            <Link to={`/orders/${one.id}`}>
              order {one.id}, {sideText(one.units).toLowerCase()} {sizeText(one.units)}{' '}
              {wordsOf(one.type)}
            </Link>{' '}
            <StateChip state={one.state} />
          </li>
        ))}
      </ul>
    </>
  );
}

function Behind({ order: { signal } }: { order: OrderDetail }) {
  if (signal === null) return null;
  const names = Object.keys(signal.metrics);
  return (
    <>
      <h3>The signal behind it</h3>
      <p>
        {signal.strategy.name}, {wordsOf(signal.direction)} at{' '}
        {priceText(signal.price, decimalsOf(signal.price))}, {marketTimeText(signal.time)}
        <br />
        <span className="soft">{signal.reason}</span>
      </p>
      <table className="rows">
        <Heads names={['Metric', { number: 'Value' }, { number: 'Coin percentile' }]} />
        <tbody>
          {names.map((name) => (
            <tr key={name}>
              <th scope="row">{wordsOf(name)}</th>
              <td className="number">{metricText(signal.metrics[name])}</td>
              <td className="number soft">{percentileText(signal.percentiles[name])}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <details>
        <summary>What it was computed from</summary>
        <pre>{JSON.stringify(signal.inputs, null, 2)}</pre>
      </details>
    </>
  );
}

function Fills({ order }: { order: OrderDetail }) {
  return (
    <>
      <h3>Fills</h3>
      {order.fills.length === 0 ? (
        <p className="soft">None.</p>
      ) : (
        <table className="rows">
          <tbody>
            {order.fills.map((fill) => (
              <tr key={fill.id}>
                <td className="soft">{marketTimeText(fill.time)}</td>
                <td>
                  {sideText(fill.units)} {sizeText(fill.units)} at{' '}
                  {priceText(fill.price, decimalsOf(fill.price))}
                  {fill.assumed_spread ? <small>assumed spread</small> : null}
                </td>
                <td className="number">
                  <Change amount={fill.realised_pl} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </>
  );
}

function shown(price: DecimalText | null): string {
  return price === null ? MISSING : priceText(price, decimalsOf(price));
}

function optional(price: DecimalText | null): string | null {
  return price === null ? null : shown(price);
}
