import type { OrderIntent } from '../../shared/api/commands';
import type { OrderType, PositionFill, TimeInForce } from '../../shared/api/model';
import { wordsOf } from '../../shared/format';
import { PROTECTIVE } from '../../shared/order-kinds';
import { untilText } from '../../shared/ui/good-until';

/** The ticket as it was typed: empty where nothing was. `good_until` is minutes of UTC. */
export type Entry = {
  type: OrderType;
  units: string;
  price: string;
  stop_loss: string;
  take_profit: string;
  trailing_distance: string;
  time_in_force: TimeInForce | '';
  good_until: string;
  position_fill: PositionFill;
  trade_id: string;
};

export const START: Entry = {
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

/** Whether an order of the type names a price. */
export function hasPrice(type: OrderType): boolean {
  return type !== 'MARKET' && type !== 'TRAILING_STOP_LOSS';
}

/** The entry as another type of order: what that type does not have is emptied. */
export function entryAs(type: OrderType, entry: Entry): Entry {
  const protective = PROTECTIVE.has(type);
  return {
    ...entry,
    type,
    price: hasPrice(type) ? entry.price : '',
    stop_loss: protective ? '' : entry.stop_loss,
    take_profit: protective ? '' : entry.take_profit,
    trailing_distance: protective && type !== 'TRAILING_STOP_LOSS' ? '' : entry.trailing_distance,
    time_in_force: '',
    good_until: '',
    position_fill: protective ? 'DEFAULT' : entry.position_fill,
    trade_id: protective ? entry.trade_id : '',
  };
}

/**
 * What is wrong with the entry before anybody is asked, or null.
 *
 * @param needsTrade  the venue hangs orders of this type on a trade, not on the position.
 */
export function faultOf(entry: Entry, needsTrade = false): string | null {
  const { type, units, trade_id, time_in_force, good_until } = entry;
  const { price, stop_loss, take_profit, trailing_distance } = entry;
  if (needsTrade && trade_id === '') return `Say which trade the ${wordsOf(type)} is for.`;
  const amount = /^\d{1,18}(\.\d{1,10})?$/;
  if (trade_id === '' && (!amount.test(units) || /^[0.]+$/.test(units))) {
    return 'Units must be a number above 0.';
  }
  if (hasPrice(type) && price === '') return `A ${wordsOf(type)} order needs a price.`;
  if (type === 'TRAILING_STOP_LOSS' && trailing_distance === '') {
    return 'A trailing stop needs a distance.';
  }
  if (time_in_force === 'GTD' && good_until === '') return 'Say until when the order is good.';
  const amounts = { price, stop_loss, take_profit, trailing_distance };
  for (const [name, text] of Object.entries(amounts)) {
    if (text !== '' && !amount.test(text)) return `The ${wordsOf(name)} must be a number.`;
  }
  return null;
}

/** The intent to send: units carry the side, what was left empty is left out. */
export function intentOf(instrument: string, entry: Entry, side: 'buy' | 'sell'): OrderIntent {
  const { type, units, good_until, position_fill, ...rest } = entry;
  const wanted = {
    ...rest,
    units: entry.trade_id !== '' ? '' : side === 'buy' ? units : `-${units}`,
    good_until: good_until === '' ? '' : untilText(good_until),
    position_fill: position_fill === 'DEFAULT' ? '' : position_fill,
  };
  const given = Object.entries(wanted).filter(([, value]) => value !== '');
  return { instrument, type, ...Object.fromEntries(given) };
}
