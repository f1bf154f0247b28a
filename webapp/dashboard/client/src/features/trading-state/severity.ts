import type { Order, Position, TradingStateName } from '../../shared/api/model';

const SEVERITY: Record<TradingStateName, number> = { ACTIVE: 0, REDUCING: 1, HALTED: 2 };

/** Whether `wanted` allows more than `now`: that is re-arming, and asks for proof. */
export function isLooser(wanted: TradingStateName, now: TradingStateName): boolean {
  return SEVERITY[wanted] < SEVERITY[now];
}

const ENDED = new Set<Order['state']>([
  'DENIED',
  'FILLED',
  'CANCELLED',
  'REJECTED',
  'EXPIRED',
  'EXPIRED_UNSENT',
  'REPLACED',
]);

/** What is left to close, in words. */
export function leftText(positions: readonly Position[], orders: readonly Order[]): string {
  const held = positions.filter(({ units }) => Number(units) !== 0).length;
  const live = orders.filter(({ state }) => !ENDED.has(state)).length;
  if (held === 0 && live === 0) return 'Flat: no position and no order is left.';
  return `Closing: ${held} position${held === 1 ? '' : 's'} and ${live} order${live === 1 ? '' : 's'} left.`;
}
