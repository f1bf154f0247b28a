import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';

import { cancelOrder } from '../../shared/api/commands';
import type { DecimalText, OrderDetail } from '../../shared/api/model';
import { brokerQuery } from '../../shared/api/queries';
import {
  decimalsOf,
  figuresText,
  instrumentText,
  marketTimeText,
  metricText,
  MISSING,
  percentileText,
  priceText,
  sideText,
  sizeText,
  wallTimeShort,
  wallTimeText,
  wordsOf,
} from '../../shared/format';
import { denialText, TIME_WORDS } from '../../shared/order-words';
import { Link } from '../../shared/route';
import { Change } from '../../shared/ui/amount';
import { Heads } from '../../shared/ui/heads';
import { ChangeForm } from './change-form';
import { CANCELLABLE, CHANGEABLE, MEANINGS, StateChip } from './order-state';
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

function Standing({ order }: { order: OrderDetail }) {
  const cancel = useMutation({ mutationFn: () => cancelOrder(order.id) });
  const broker = useQuery(brokerQuery).data;
  const [changing, setChanging] = useState(false);
  const changeable = CHANGEABLE[order.state] && broker?.replaces === true;
  const cancellable = CANCELLABLE[order.state];
  const meaning = MEANINGS[order.state];
  return (
    <>
      {meaning === undefined ? null : (
        <p className="order-meaning">
          {meaning}
          {order.cause === '' || order.denied_reason !== '' ? null : (
            <span className="soft"> Last heard: {order.cause}.</span>
          )}
        </p>
      )}
      {changeable || cancellable ? (
        <p className="order-standing">
          {changeable && !changing ? (
            <button
              type="button"
              onClick={() => {
                setChanging(true);
              }}
            >
              Change
            </button>
          ) : null}
          {cancellable ? (
            <button
              type="button"
              disabled={cancel.isPending || cancel.isSuccess}
              onClick={() => {
                cancel.mutate();
              }}
            >
              Cancel the order
            </button>
          ) : null}
        </p>
      ) : null}
      {changeable && changing ? (
        <ChangeForm
          order={order}
          onDone={() => {
            setChanging(false);
          }}
        />
      ) : null}
      {cancel.error === null ? null : <p role="alert">{cancel.error.message}</p>}
      {order.denied_reason === '' ? null : (
        <p className="refusal" role="note">
          {denialText(order)}
        </p>
      )}
    </>
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

/** Why an order has no risk checks, where its origin says it. */
const UNCHECKED: Partial<Record<OrderDetail['origin'], string>> = {
  PROTECTIVE: 'None of its own: it protects what was opened, and was checked with that order.',
  EXTERNAL: 'None: it was made beside us, and is only kept in our books.',
};

function Checks({ order }: { order: OrderDetail }) {
  return (
    <>
      <h3>Risk checks</h3>
      {order.checks.length === 0 ? (
        <p className="soft">{UNCHECKED[order.origin] ?? 'The risk gate has not looked at it.'}</p>
      ) : (
        <table className="rows">
          <Heads
            names={['Rule', { number: 'Value' }, { number: 'Limit' }, { hidden: 'Outcome' }]}
          />
          <tbody>
            {order.checks.map(({ rule, value, limit, passed }) => (
              <tr key={rule}>
                <th scope="row">{wordsOf(rule)}</th>
                <td className="number">{value === null ? MISSING : figuresText(String(value))}</td>
                <td className="number">{limit === null ? MISSING : figuresText(String(limit))}</td>
                <td className={passed ? 'up' : 'down'}>{passed ? 'passed' : 'refused'}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </>
  );
}

function Life({ order }: { order: OrderDetail }) {
  return (
    <>
      <h3>Life, UTC</h3>
      <ol className="life">
        {order.events.map(({ seq, time, state, cause }) => (
          <li key={seq}>
            <time dateTime={time} title={time}>
              {wallTimeShort(time)}
            </time>
            <StateChip state={state} />
            <span className="soft">{cause}</span>
          </li>
        ))}
      </ol>
    </>
  );
}

function Facts({ order }: { order: OrderDetail }) {
  return (
    <>
      <h3>What the broker said</h3>
      {order.facts.length === 0 ? <p className="soft">Nothing yet.</p> : null}
      {order.facts.map(({ transaction_id, kind, raw, applied_at }) => (
        <details key={transaction_id} className="fact">
          <summary>
            {transaction_id} {wordsOf(kind)}{' '}
            <time dateTime={applied_at}>applied {wallTimeText(applied_at)}</time>
          </summary>
          <pre>{JSON.stringify(raw, null, 2)}</pre>
        </details>
      ))}
    </>
  );
}

function shown(price: DecimalText | null): string {
  return price === null ? MISSING : priceText(price, decimalsOf(price));
}

function optional(price: DecimalText | null): string | null {
  return price === null ? null : shown(price);
}
