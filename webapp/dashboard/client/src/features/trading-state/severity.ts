import type { Closing, TradingStateName } from '../../shared/api/model';

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
  return `Closing: ${held} position${held === 1 ? '' : 's'} and ${live} order${live === 1 ? '' : 's'} left.`;
}
