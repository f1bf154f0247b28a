import { orderState, type Closing, type TradingStateName } from '../../shared/api/model';
import { instrumentText, sideText, sizeText } from '../../shared/format';
import { STATE_WORDS } from '../../shared/order-words';

const SEVERITY: Record<TradingStateName, number> = { ACTIVE: 0, REDUCING: 1, HALTED: 2 };

/** Whether `wanted` allows more than `now`: that is re-arming, and asks for proof. */
export function isLooser(wanted: TradingStateName, now: TradingStateName): boolean {
  return SEVERITY[wanted] < SEVERITY[now];
}

/** What came of a closing up to now, in words. */
export function closingText({ ended_at, ended_because, left }: Closing): string {
  if (ended_because === 'flat') return 'Flat: no position and no order is left.';
  if (ended_at !== null) return `It goes no further: ${ended_because}.`;
  if (left.length === 0) return 'Closing: the trader looks once more.';
  const held = left.filter(({ what }) => what === 'position').length;
  const live = left.length - held;
  return `Closing: ${counted(held, 'position')} and ${counted(live, 'order')} left.`;
}

function counted(count: number, name: string): string {
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}

function inWords(name: string): string {
  const state = orderState.safeParse(name);
  return state.success ? STATE_WORDS[state.data] : name;
}

/** One position or order that is left, and what stands in the way. */
export function leftText({ what, name, units, why }: Closing['left'][number]): string {
  const because = why.replace(/\b[A-Z_]{4,}\b/g, inWords);
  const size = sizeText(units);
  return what === 'position'
    ? `${instrumentText(name)}, ${size} units: ${because}.`
    : `Order ${name}, ${sideText(units).toLowerCase()} ${size}: ${because}.`;
}
