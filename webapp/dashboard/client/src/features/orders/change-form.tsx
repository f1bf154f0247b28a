import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';

import { changeOrder, type OrderChange } from '../../shared/api/commands';
import { ApiError } from '../../shared/api/http';
import type { Order } from '../../shared/api/model';
import { brokerQuery } from '../../shared/api/queries';
import { useAskOnce } from '../../shared/api/use-ask-once';
import { failureText } from '../../shared/failure-text';
import { PROTECTIVE } from '../../shared/order-kinds';
import { go } from '../../shared/route';
import { type Good, GoodUntil, untilText } from '../../shared/ui/good-until';

type Name = 'price' | 'stop_loss' | 'take_profit' | 'trailing_distance';
const LABELS: Record<Name, string> = {
  price: 'Price',
  stop_loss: 'Stop loss',
  take_profit: 'Take profit',
  trailing_distance: 'Trailing, distance',
};
const ALL_LABELS = { ...LABELS, units: 'Units', time_in_force: 'Good', good_until: 'Until' };

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
  const [good, setGood] = useState(goodOf(order));
  const broker = useQuery(brokerQuery).data;
  const forces = broker?.types.find(({ type }) => type === order.type)?.times_in_force ?? [];
  const change = useAskOnce((terms: OrderChange, key) => changeOrder(order.id, terms, key), {
    onSuccess: ({ id }) => {
      onDone();
      go(`/orders/${id}`);
    },
  });
  const wrong = change.error instanceof ApiError ? change.error.fields : {};
  const terms = changeOf(order, names, size, values, good);
  const untilMissing = good.force === 'GTD' && good.until === '';
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
      {forces.length < 2 ? null : (
        <GoodUntil value={good} forces={forces} wrong={wrong} onChange={setGood} />
      )}
      {change.error === null ? null : (
        <p role="alert">{failureText(change.error, ALL_LABELS)}</p>
      )}
      <footer>
        <button type="button" onClick={onDone}>
          Keep
        </button>
        <button
          type="submit"
          className="solid"
          disabled={change.isPending || untilMissing || isEmpty(terms)}
        >
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

function goodOf({ time_in_force, good_until }: Order): Good {
  return { force: time_in_force, until: good_until?.slice(0, 16) ?? '' };
}

/** What differs from the order; a field that was emptied takes its stop or target away. */
export function changeOf(
  order: Order,
  names: readonly Name[],
  size: string,
  values: Record<Name, string>,
  { force, until }: Good,
): OrderChange {
  const sign = order.units.startsWith('-') ? '-' : '';
  const change: OrderChange = `${sign}${size}` === order.units ? {} : { units: `${sign}${size}` };
  for (const name of names) {
    if (values[name] === (order[name] ?? '')) continue;
    if (name === 'price') change.price = values.price;
    else change[name] = values[name] === '' ? null : values[name];
  }
  const now = goodOf(order);
  if (force !== '' && force !== now.force) change.time_in_force = force;
  if (until !== '' && until !== now.until) change.good_until = untilText(until);
  return change;
}
