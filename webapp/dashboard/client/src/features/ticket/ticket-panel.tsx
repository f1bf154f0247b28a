import { useMutation, useQuery } from '@tanstack/react-query';
import { useEffect, useRef, useState, type ReactNode } from 'react';

import { idempotencyKey, placeOrder } from '../../shared/api/commands';
import { ApiError } from '../../shared/api/http';
import {
  orderType,
  positionFill,
  timeInForce,
  type Order,
  type OrderType,
} from '../../shared/api/model';
import { brokerQuery, ordersQuery, tradesQuery } from '../../shared/api/queries';
import { decimalsOf, priceText, sideText, sizeText, wordsOf } from '../../shared/format';
import { failureText } from '../../shared/failure-text';
import { denialText, STATE_WORDS, TIME_WORDS } from '../../shared/order-words';
import { Link } from '../../shared/route';
import { Panel } from '../../shared/ui/panel';
import { faultOf, hasPrice, intentOf, PROTECTIVE, type Entry } from './intent';
import './ticket.css';

const START: Entry = {
  type: 'MARKET',
  units: '1000',
  price: '',
  stop_loss: '',
  take_profit: '',
  trailing_distance: '',
  time_in_force: '',
  good_until: '',
  position_fill: 'DEFAULT',
  trade_id: '',
};

/** What the server calls otherwise than the page. */
const LABELS = {
  type: 'Order',
  trailing_distance: 'Distance',
  time_in_force: 'Good',
  good_until: 'Until',
  position_fill: 'A fill may',
  trade_id: 'Of trade',
};

/** Place an order by hand. Whether it is sent is for the risk gate to say, and it is shown here. */
export function TicketPanel({ instrument }: { instrument: string }) {
  const broker = useQuery(brokerQuery).data;
  const trades = useQuery({ ...tradesQuery, enabled: broker?.trades === true }).data ?? [];
  const [entry, setEntry] = useState(START);
  // One key for one intent: pressing again after an answer was lost orders nothing twice.
  const [key, setKey] = useState(idempotencyKey);
  const place = useMutation({
    mutationFn: (side: 'buy' | 'sell') => placeOrder(intentOf(instrument, entry, side), key),
    onSuccess: () => {
      setKey(idempotencyKey());
    },
    onError: (error) => {
      // An answer came, so the next press is another intent.
      if (error instanceof ApiError && error.status !== 0) setKey(idempotencyKey());
    },
  });

  const change = (fields: Partial<Entry>) => {
    setEntry((now) => ({ ...now, ...fields }));
    setKey(idempotencyKey());
    place.reset();
  };
  const wrong = place.error instanceof ApiError ? place.error.fields : {};
  const amount = (name: 'units' | 'price' | 'stop_loss' | 'take_profit' | 'trailing_distance') => ({
    inputMode: 'decimal' as const,
    'aria-invalid': name in wrong,
    value: entry[name],
    onChange: ({ target }: { target: HTMLInputElement }) => {
      change({ [name]: target.value });
    },
  });
  const { type } = entry;
  const protective = PROTECTIVE.has(type);
  const kinds = broker?.types.map((one) => one.type) ?? (['MARKET', 'LIMIT', 'STOP'] as const);
  const terms = broker?.types.find((one) => one.type === type);
  const trailing = type === 'TRAILING_STOP_LOSS' || (!protective && trails(broker?.on_fill));
  const onTrade = terms?.needs_trade === true && broker?.trades === true;
  const fault = faultOf(entry, onTrade);
  const placed = useNewest(place.data);

  return (
    <Panel title="Place an order" view="trade">
      <form
        className="ticket"
        onSubmit={(event) => {
          event.preventDefault();
        }}
      >
        <label>
          Order
          <select
            value={type}
            aria-invalid={'type' in wrong}
            onChange={({ target }) => {
              change(of(orderType.parse(target.value), entry));
            }}
          >
            {kinds.map((kind) => (
              <option key={kind} value={kind}>
                {wordsOf(kind)}
              </option>
            ))}
          </select>
        </label>
        {entry.trade_id === '' ? (
          <label>
            Units
            <input {...amount('units')} />
          </label>
        ) : null}
        {protective && (onTrade || trades.length > 0) ? (
          <label>
            Of trade
            <select
              value={entry.trade_id}
              aria-invalid={'trade_id' in wrong}
              onChange={({ target }) => {
                change({ trade_id: target.value });
              }}
            >
              <option value="">{onTrade ? 'choose a trade' : 'the position'}</option>
              {trades.map((one) => (
                <option key={one.id} value={one.id}>
                  {one.id}: {sideText(one.units)} {sizeText(one.units)}
                </option>
              ))}
            </select>
          </label>
        ) : null}
        {hasPrice(type) ? (
          <label>
            Price
            <input {...amount('price')} />
          </label>
        ) : null}
        {protective ? null : (
          <>
            <label>
              Stop loss
              <input placeholder="default" {...amount('stop_loss')} />
            </label>
            <label>
              Take profit
              <input placeholder="none" {...amount('take_profit')} />
            </label>
          </>
        )}
        {trailing ? (
          <label>
            {type === 'TRAILING_STOP_LOSS' ? 'Distance' : 'Trailing stop, distance'}
            <input placeholder="none" {...amount('trailing_distance')} />
          </label>
        ) : null}
        <details className="ticket-more">
          <summary>
            {entry.time_in_force === '' ? 'Time and fill' : TIME_WORDS[entry.time_in_force]}
          </summary>
          <label>
            Good
            <select
              value={entry.time_in_force}
              aria-invalid={'time_in_force' in wrong}
              onChange={({ target }) => {
                const chosen = timeInForce.safeParse(target.value).data ?? '';
                change({
                  time_in_force: chosen,
                  good_until: chosen === 'GTD' ? entry.good_until : '',
                });
              }}
            >
              <option value="">as is usual</option>
              {terms?.times_in_force.map((force) => (
                <option key={force} value={force}>
                  {TIME_WORDS[force]}
                </option>
              ))}
            </select>
          </label>
          {entry.time_in_force === 'GTD' ? (
            <label>
              Until, market time UTC
              <input
                type="datetime-local"
                aria-invalid={'good_until' in wrong}
                value={entry.good_until}
                onChange={({ target }) => {
                  change({ good_until: target.value });
                }}
              />
            </label>
          ) : null}
          {protective ? null : (
            <label>
              A fill may
              <select
                value={entry.position_fill}
                aria-invalid={'position_fill' in wrong}
                onChange={({ target }) => {
                  change({ position_fill: positionFill.parse(target.value) });
                }}
              >
                {(broker?.position_fills ?? (['DEFAULT'] as const)).map((fill) => (
                  <option key={fill} value={fill}>
                    {fill === 'DEFAULT' ? 'reduce and open' : wordsOf(fill)}
                  </option>
                ))}
              </select>
            </label>
          )}
        </details>
        {(entry.trade_id === '' ? (['sell', 'buy'] as const) : (['sell'] as const)).map((side) => (
          <button
            key={side}
            type="button"
            className={`ticket-send ${entry.trade_id === '' ? side : 'trade'}`}
            disabled={place.isPending || fault !== null}
            onClick={() => {
              place.mutate(side);
            }}
          >
            {entry.trade_id !== '' ? 'Place' : side === 'buy' ? 'Buy' : 'Sell'}
          </button>
        ))}
      </form>
      <Outcome said={place.isPending || place.isSuccess || place.isError}>
        {place.isPending ? 'Asking the risk gate…' : (fault ?? outcomeOf(placed))}
        {place.error === null ? null : (
          <span className="down">{failureText(place.error, LABELS)}</span>
        )}
      </Outcome>
    </Panel>
  );
}

/** What came of the order, brought into sight when it was asked for. */
function Outcome({ said, children }: { said: boolean; children: ReactNode }) {
  const place = useRef<HTMLParagraphElement>(null);
  useEffect(() => {
    if (said) place.current?.scrollIntoView({ block: 'nearest' });
  });
  return (
    <p ref={place} className="ticket-outcome" role="status">
      {children}
    </p>
  );
}

/** The order as it is now: what the socket brought since the answer, if it is newer. */
function useNewest(order: Order | undefined): Order | undefined {
  const { data: orders } = useQuery(ordersQuery);
  const live = orders?.find(({ id }) => id === order?.id);
  return order !== undefined && live !== undefined && live.updated_at > order.updated_at
    ? live
    : order;
}

function trails(kinds: readonly OrderType[] | undefined): boolean {
  return kinds?.includes('TRAILING_STOP_LOSS') === true;
}

/** The entry as another type of order: what that type does not have is emptied. */
function of(type: OrderType, entry: Entry): Partial<Entry> {
  const protective = PROTECTIVE.has(type);
  return {
    type,
    price: hasPrice(type) ? entry.price : '',
    stop_loss: protective ? '' : entry.stop_loss,
    take_profit: protective ? '' : entry.take_profit,
    trailing_distance:
      protective && type !== 'TRAILING_STOP_LOSS' ? '' : entry.trailing_distance,
    time_in_force: '',
    good_until: '',
    position_fill: protective ? 'DEFAULT' : entry.position_fill,
    trade_id: protective ? entry.trade_id : '',
  };
}

function outcomeOf(order: Order | undefined): ReactNode {
  if (order === undefined) return null;
  if (order.denied_reason !== '') {
    return (
      <span className="down">
        Denied: {denialText(order)}. <Link to={`/orders/${order.id}`}>Its checks</Link>
      </span>
    );
  }
  const { state, average_price, filled_units } = order;
  if (state === 'FILLED' && average_price !== null) {
    const price = priceText(average_price, decimalsOf(average_price));
    return (
      <span className="up">
        Filled {sizeText(filled_units)} at {price}.
      </span>
    );
  }
  return (
    <>
      <Link to={`/orders/${order.id}`}>Order {order.id}</Link> is {STATE_WORDS[state]}.
    </>
  );
}
