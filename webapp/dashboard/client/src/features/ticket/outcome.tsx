import { useEffect, useRef, type ReactNode } from 'react';

import type { Order } from '../../shared/api/model';
import { failureText } from '../../shared/failure-text';
import { decimalsOf, priceText, sizeText } from '../../shared/format';
import { denialText, STATE_WORDS } from '../../shared/order-words';
import { Link } from '../../shared/route';

/** What the server calls otherwise than the page. */
const LABELS = {
  type: 'Order',
  trailing_distance: 'Distance',
  time_in_force: 'Good',
  good_until: 'Until',
  position_fill: 'A fill may',
  trade_id: 'Of trade',
};

type OutcomeProps = {
  pending: boolean;
  /** What is wrong with the entry before anybody is asked. */
  fault: string | null;
  order: Order | undefined;
  error: Error | null;
};

/** What came of the order, brought into sight when it was asked for. */
export function Outcome({ pending, fault, order, error }: OutcomeProps) {
  const place = useRef<HTMLParagraphElement>(null);
  const asked = pending || order !== undefined || error !== null;
  const state = order?.state;
  useEffect(() => {
    if (asked) place.current?.scrollIntoView({ block: 'nearest' });
  }, [asked, pending, state]);
  return (
    <p ref={place} className="ticket-outcome" role="status">
      {pending ? 'Asking the risk gate…' : (fault ?? outcomeOf(order))}
      {error === null ? null : <span className="down">{failureText(error, LABELS)}</span>}
    </p>
  );
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
