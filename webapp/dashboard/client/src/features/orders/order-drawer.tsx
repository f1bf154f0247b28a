import { useMutation, useQuery } from '@tanstack/react-query';

import { cancelOrder } from '../../shared/api/commands';
import type { DecimalText, OrderDetail } from '../../shared/api/model';
import { orderQuery } from '../../shared/api/queries';
import {
  clockText,
  decimalsOf,
  instrumentText,
  marketTimeText,
  MISSING,
  priceText,
  sideText,
  sizeText,
  wordsOf,
} from '../../shared/format';
import { Change } from '../../shared/ui/amount';
import { Dialog } from '../../shared/ui/dialog';
import { Answer } from '../../shared/ui/panel';
import { CANCELLABLE, StateChip } from './order-state';

/** Everything that is known about one order: its terms, its checks, its life. */
export function OrderDrawer({ id, onClose }: { id: number; onClose: () => void }) {
  return (
    <Dialog title={`Order ${id}`} shape="drawer" onClose={onClose}>
      <Answer query={useQuery(orderQuery(id))} what="order">
        {(order) => <Detail order={order} />}
      </Answer>
    </Dialog>
  );
}

function Detail({ order }: { order: OrderDetail }) {
  const cancel = useMutation({ mutationFn: () => cancelOrder(order.id) });
  const terms: [string, string][] = [
    ['Instrument', instrumentText(order.instrument)],
    ['Order', `${sideText(order.units)} ${sizeText(order.units)} ${wordsOf(order.type)}`],
    ['Filled', sizeText(order.filled_units)],
    ['Price', shown(order.price)],
    ['Average price', shown(order.average_price)],
    ['Stop loss', shown(order.stop_loss)],
    ['Take profit', shown(order.take_profit)],
    ['Reduce only', order.reduce_only ? 'yes' : 'no'],
    ['By', wordsOf(order.origin)],
    ['Market time', marketTimeText(order.market_time)],
    ['Client id', order.client_id],
    ['Venue id', order.venue_order_id === '' ? MISSING : order.venue_order_id],
  ];
  return (
    <>
      <p className="order-standing">
        <StateChip state={order.state} />
        {CANCELLABLE[order.state] ? (
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
      {cancel.error === null ? null : <p role="alert">{cancel.error.message}</p>}
      {order.denied_reason === '' ? null : (
        <p className="refusal" role="note">
          <b>{wordsOf(order.denied_rule)}</b> {order.denied_reason}
        </p>
      )}
      <dl className="terms">
        {terms.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>

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

      <h3>Risk checks</h3>
      {order.checks.length === 0 ? (
        <p className="soft">The risk gate has not looked at it.</p>
      ) : (
        <table className="rows">
          <thead>
            <tr>
              <th scope="col">Rule</th>
              <th scope="col" className="number">
                Value
              </th>
              <th scope="col" className="number">
                Limit
              </th>
              <th scope="col">
                <span className="hidden">Outcome</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {order.checks.map(({ rule, value, limit, passed }) => (
              <tr key={rule}>
                <th scope="row">{wordsOf(rule)}</th>
                <td className="number">{value ?? MISSING}</td>
                <td className="number">{limit ?? MISSING}</td>
                <td className={passed ? 'up' : 'down'}>{passed ? 'passed' : 'refused'}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}

      <h3>Life</h3>
      <ol className="life">
        {order.events.map(({ seq, time, state }) => (
          <li key={seq}>
            <StateChip state={state} /> <time dateTime={time}>{clockText(time)}</time>
          </li>
        ))}
      </ol>

      <h3>What the broker said</h3>
      {order.facts.length === 0 ? <p className="soft">Nothing yet.</p> : null}
      {order.facts.map(({ transaction_id, kind, raw }) => (
        <details key={transaction_id}>
          <summary>
            {transaction_id} {wordsOf(kind)}
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
