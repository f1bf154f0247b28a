import type { Order } from '../../shared/api/model';
import { decimalsOf, priceText, sizeText } from '../../shared/format';
import { notify } from '../../shared/notices';
import { denialText, STATE_WORDS } from '../../shared/order-words';

/** Tell what became of the order that was to close `what`. */
export function tellClose(what: string, order: Order): void {
  const { id, state, average_price, filled_units } = order;
  if (state === 'FILLED') {
    const price = priceText(average_price, decimalsOf(average_price));
    notify('info', `Closed ${sizeText(filled_units)} of ${what} at ${price}.`);
  } else if (state === 'UNKNOWN') {
    notify('error', `Order ${id}, to close ${what}: no clear answer came. The broker is asked.`);
  } else {
    const why = order.denied_reason === '' ? order.cause : denialText(order);
    const because = why === '' ? '.' : `: ${why}.`;
    notify('error', `${what} is not closed. Order ${id} was ${STATE_WORDS[state]}${because}`);
  }
}
