import { useMutation } from '@tanstack/react-query';
import { useState, type ChangeEvent } from 'react';

import { idempotencyKey, placeOrder } from '../../shared/api/commands';
import { ApiError } from '../../shared/api/http';
import type { Order } from '../../shared/api/model';
import { decimalsOf, priceText, sizeText, wordsOf } from '../../shared/format';
import { Panel } from '../../shared/ui/panel';
import { faultOf, intentOf, type Entry } from './intent';
import './ticket.css';

const KINDS = ['MARKET', 'LIMIT', 'STOP'] as const;

const START: Entry = { type: 'MARKET', units: '1000', price: '', stop_loss: '', take_profit: '' };

/** Place an order by hand. Whether it is sent is for the risk gate to say, and it is shown here. */
export function TicketPanel({ instrument }: { instrument: string }) {
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

  const field = (name: keyof Entry) => ({
    value: entry[name],
    onChange: ({ target }: ChangeEvent<HTMLInputElement>) => {
      setEntry({ ...entry, [name]: target.value });
      setKey(idempotencyKey());
      place.reset();
    },
  });
  const fault = faultOf(entry);
  const wrong = place.error instanceof ApiError ? place.error.fields : {};

  return (
    <Panel title="Place an order" view="trade">
      <form
        className="ticket"
        onSubmit={(event) => {
          event.preventDefault();
        }}
      >
        <div className="ticket-kinds" role="group" aria-label="Kind of order">
          {KINDS.map((type) => (
            <button
              key={type}
              type="button"
              aria-pressed={entry.type === type}
              onClick={() => {
                setEntry({ ...entry, type, price: type === 'MARKET' ? '' : entry.price });
                place.reset();
              }}
            >
              {wordsOf(type)}
            </button>
          ))}
        </div>
        <label>
          Units
          <input inputMode="decimal" aria-invalid={'units' in wrong} {...field('units')} />
        </label>
        <label>
          Price
          <input
            inputMode="decimal"
            disabled={entry.type === 'MARKET'}
            placeholder={entry.type === 'MARKET' ? 'market' : ''}
            aria-invalid={'price' in wrong}
            {...field('price')}
          />
        </label>
        <label>
          Stop loss
          <input inputMode="decimal" placeholder="none" aria-invalid={'stop_loss' in wrong} {...field('stop_loss')} />
        </label>
        <label>
          Take profit
          <input inputMode="decimal" placeholder="none" aria-invalid={'take_profit' in wrong} {...field('take_profit')} />
        </label>
        {(['sell', 'buy'] as const).map((side) => (
          <button
            key={side}
            type="button"
            className={`ticket-send ${side}`}
            disabled={place.isPending || fault !== null}
            onClick={() => {
              place.mutate(side);
            }}
          >
            {side === 'buy' ? 'Buy' : 'Sell'}
          </button>
        ))}
      </form>
      <p className="ticket-outcome" role="status">
        {place.isPending ? 'Asking the risk gate…' : (fault ?? outcomeOf(place.data))}
        {place.error === null ? null : (
          <span className="down">
            {place.error.message} {Object.values(wrong).flat().join(' ')}
          </span>
        )}
      </p>
    </Panel>
  );
}

function outcomeOf(order: Order | undefined) {
  if (order === undefined) return null;
  if (order.denied_reason !== '') return <span className="down">Denied: {order.denied_reason}</span>;
  const { state, average_price, filled_units } = order;
  if (state === 'FILLED' && average_price !== null) {
    const price = priceText(average_price, decimalsOf(average_price));
    return (
      <span className="up">
        Filled {sizeText(filled_units)} at {price}.
      </span>
    );
  }
  return `Order ${order.id} is ${wordsOf(state)}.`;
}
