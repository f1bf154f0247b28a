import type { OrderType } from './api/model';

/** Orders that only close what is held. */
export const PROTECTIVE: ReadonlySet<OrderType> = new Set([
  'STOP_LOSS',
  'TAKE_PROFIT',
  'TRAILING_STOP_LOSS',
  'GUARANTEED_STOP_LOSS',
]);
