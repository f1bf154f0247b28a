import { useQuery } from '@tanstack/react-query';

import type { Order } from '../../shared/api/model';
import { ordersQuery } from '../../shared/api/queries';
import {
  decimalsOf,
  instrumentText,
  marketTimeShort,
  MISSING,
  priceText,
  sideText,
  signOf,
  sizeText,
  wordsOf,
} from '../../shared/format';
import { denialText } from '../../shared/order-words';
import { Change } from '../../shared/ui/amount';
import { Heads } from '../../shared/ui/heads';
import { Answer } from '../../shared/ui/panel';
import { StateChip } from './order-state';

export function OrdersTable({ onOpen }: { onOpen: (id: number) => void }) {
  return (
    <Answer
      query={useQuery(ordersQuery)}
      what="orders"
      empty={(rows) => (rows.length === 0 ? 'No order has been placed yet.' : null)}
    >
      {(rows) => (
        <div className="table-scroll">
          <table className="rows orders-rows">
            <Heads
              names={[
                'Market time, UTC', 'Order', { number: 'Size' }, { number: 'Price' }, 'State', 'By',
              ]}
            />
            <tbody>
              {rows.map((order) => (
                <OrderRow key={order.id} order={order} onOpen={onOpen} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Answer>
  );
}

function OrderRow({ order, onOpen }: { order: Order; onOpen: (id: number) => void }) {
  const side = sideText(order.units);
  const shown = order.average_price ?? order.price;
  return (
    <tr
      className="openable"
      onClick={() => {
        onOpen(order.id);
      }}
    >
      <td className="soft">{marketTimeShort(order.market_time)}</td>
      <td>
        <button
          type="button"
          className="link"
          aria-label={`Order ${order.id}, ${side} ${sizeText(order.units)}`}
          onClick={(event) => {
            event.stopPropagation();
            onOpen(order.id);
          }}
        >
          <span className={signOf(order.units) < 0 ? 'down' : 'up'}>{side}</span>{' '}
          {wordsOf(order.type)}
        </button>{' '}
        <span className="soft">{instrumentText(order.instrument)}</span>
      </td>
      <td className="number">{sizeText(order.units)}</td>
      <td className="number">
        {shown === null ? MISSING : priceText(shown, decimalsOf(shown))}
      </td>
      <td>
        <StateChip state={order.state} />
        {order.denied_reason === '' ? null : (
          <small className="down clip" title={denialText(order)}>
            {denialText(order)}
          </small>
        )}
      </td>
      <td className="soft">{wordsOf(order.origin)}</td>
    </tr>
  );
}

export function FillsTable({ onOpen }: { onOpen: (id: number) => void }) {
  return (
    <Answer
      query={useQuery(ordersQuery)}
      what="fills"
      empty={(rows) => (rows.every(({ fills }) => fills.length === 0) ? 'No fill yet.' : null)}
    >
      {(rows) => (
        <div className="table-scroll">
          <table className="rows">
            <Heads
              names={[
                'Market time, UTC',
                'Fill',
                { number: 'Size' },
                { number: 'Price' },
                { number: 'Realised' },
                'Of',
              ]}
            />
            <tbody>
              {fillsOf(rows).map(({ fill, order }) => (
                <tr
                  key={fill.id}
                  className="openable"
                  onClick={() => {
                    onOpen(order.id);
                  }}
                >
                  <td className="soft">{marketTimeShort(fill.time)}</td>
                  <td>
                    <span className={signOf(fill.units) < 0 ? 'down' : 'up'}>
                      {sideText(fill.units)}
                    </span>{' '}
                    <span className="soft">{instrumentText(order.instrument)}</span>
                  </td>
                  <td className="number">{sizeText(fill.units)}</td>
                  <td className="number">
                    {priceText(fill.price, decimalsOf(fill.price))}
                    {fill.assumed_spread ? <small>assumed spread</small> : null}
                  </td>
                  <td className="number">
                    <Change amount={fill.realised_pl} />
                  </td>
                  <td>
                    <button
                      type="button"
                      className="link"
                      onClick={(event) => {
                        event.stopPropagation();
                        onOpen(order.id);
                      }}
                    >
                      order {order.id}
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Answer>
  );
}

function fillsOf(orders: readonly Order[]) {
  return orders
    .flatMap((order) => order.fills.map((fill) => ({ fill, order })))
    .sort((a, b) => b.fill.id - a.fill.id);
}
