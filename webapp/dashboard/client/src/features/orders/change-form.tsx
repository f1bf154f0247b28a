import { useState } from 'react';

import { changeOrder, type OrderChange } from '../../shared/api/commands';
import { ApiError } from '../../shared/api/http';
import type { Order } from '../../shared/api/model';
import { useAskOnce } from '../../shared/api/use-ask-once';
import { failureText } from '../../shared/failure-text';
import { PROTECTIVE } from '../../shared/order-kinds';
import { go } from '../../shared/route';

type Name = 'price' | 'stop_loss' | 'take_profit' | 'trailing_distance';
const LABELS: Record<Name, string> = {
  price: 'Price',
  stop_loss: 'Stop loss',
  take_profit: 'Take profit',
  trailing_distance: 'Trailing, distance',
};

/** Other terms for a working order. The venue gives them a new order, which is then shown. */
export function ChangeForm({ order, onDone }: { order: Order; onDone: () => void }) {
  const names = namesOf(order);
  const [size, setSize] = useState(order.units.replace('-', ''));
  const [values, setValues] = useState<Record<Name, string>>({
    price: order.price ?? '',
    stop_loss: order.stop_loss ?? '',
    take_profit: order.take_profit ?? '',
    trailing_distance: order.trailing_distance ?? '',
  });
  const change = useAskOnce((terms: OrderChange, key) => changeOrder(order.id, terms, key), {
    onSuccess: ({ id }) => {
      onDone();
      go(`/orders/${id}`);
    },
  });
  const wrong = change.error instanceof ApiError ? change.error.fields : {};
  const terms = changeOf(order, names, size, values);
  return (
    <form
      className="change"
      onSubmit={(event) => {
        event.preventDefault();
        change.mutate(terms);
      }}
    >
      {order.trade_id === '' ? (
        <label>
          Units
          <input
            inputMode="decimal"
            value={size}
            aria-invalid={'units' in wrong}
            onChange={({ target }) => {
              setSize(target.value);
            }}
          />
        </label>
      ) : null}
      {names.map((name) => (
        <label key={name}>
          {LABELS[name]}
          <input
            inputMode="decimal"
            value={values[name]}
            aria-invalid={name in wrong}
            onChange={({ target }) => {
              setValues({ ...values, [name]: target.value });
            }}
          />
        </label>
      ))}
      {change.error === null ? null : (
        <p role="alert">
          {failureText(change.error, LABELS)}
        </p>
      )}
      <footer>
        <button type="button" onClick={onDone}>
          Keep
        </button>
        <button type="submit" className="solid" disabled={change.isPending || isEmpty(terms)}>
          Change the order
        </button>
      </footer>
    </form>
  );
}

function isEmpty(terms: OrderChange): boolean {
  return Object.keys(terms).length === 0;
}

function namesOf({ type }: Order): Name[] {
  if (type === 'TRAILING_STOP_LOSS') return ['trailing_distance'];
  if (PROTECTIVE.has(type)) return ['price'];
  return ['price', 'stop_loss', 'take_profit', 'trailing_distance'];
}

/** What differs from the order; a field that was emptied takes its stop or target away. */
export function changeOf(
  order: Order,
  names: readonly Name[],
  size: string,
  values: Record<Name, string>,
): OrderChange {
  const sign = order.units.startsWith('-') ? '-' : '';
  const change: OrderChange = `${sign}${size}` === order.units ? {} : { units: `${sign}${size}` };
  for (const name of names) {
    if (values[name] === (order[name] ?? '')) continue;
    if (name === 'price') change.price = values.price;
    else change[name] = values[name] === '' ? null : values[name];
  }
  return change;
}
