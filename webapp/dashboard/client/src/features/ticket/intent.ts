import type { OrderIntent } from '../../shared/api/commands';
import { wordsOf } from '../../shared/format';

/** The ticket as it was typed: empty where nothing was. */
export type Entry = {
  type: OrderIntent['type'];
  units: string;
  price: string;
  stop_loss: string;
  take_profit: string;
};

/** What is wrong with the entry before anybody is asked, or null. */
export function faultOf({ type, units, price, stop_loss, take_profit }: Entry): string | null {
  const amount = /^\d{1,18}(\.\d{1,10})?$/;
  if (!amount.test(units) || /^[0.]+$/.test(units)) return 'Units must be a number above 0.';
  if (type !== 'MARKET' && price === '') return `A ${wordsOf(type)} order needs a price.`;
  for (const [name, text] of Object.entries({ price, stop_loss, take_profit })) {
    if (text !== '' && !amount.test(text)) return `The ${wordsOf(name)} must be a number.`;
  }
  return null;
}

/** The intent to send: units carry the side, what was left empty is left out. */
export function intentOf(instrument: string, entry: Entry, side: 'buy' | 'sell'): OrderIntent {
  const { type, units, price, stop_loss, take_profit } = entry;
  return {
    instrument,
    type,
    units: side === 'buy' ? units : `-${units}`,
    ...(price === '' ? {} : { price }),
    ...(stop_loss === '' ? {} : { stop_loss }),
    ...(take_profit === '' ? {} : { take_profit }),
  };
}
