/** Signals and fills, put on the bars that they belong to. */
import type { Candle, Fill, Order, Signal } from '../../shared/api/model';
import { secondsOf } from '../../shared/chart-time';
import { signOf } from '../../shared/format';

export type Mark = {
  id: string;
  /** Start of the bar, seconds since 1970. */
  time: number;
  kind: 'signal' | 'fill';
  side: 'buy' | 'sell';
};

export type BarEvents = { signals: Signal[]; fills: { fill: Fill; order: Order }[] };

/** Index of the last bar that starts before `time` (or at it), or -1. */
export function barAt(starts: readonly number[], time: number, inclusive: boolean): number {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const start = starts[middle] ?? Infinity;
    if (start < time || (inclusive && start === time)) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * Signals and fills by the start of their bar.
 *
 * A signal carries the end of the bar that decided it, so it belongs to the last bar that starts
 * before that. A fill carries the time of its quote and belongs to the bar that has begun by then.
 * What lies before the first bar or after the last one (an earlier pass of the replay) is left out.
 */
export function eventsByBar(
  candles: readonly Candle[],
  bar_s: number,
  signals: readonly Signal[],
  orders: readonly Order[],
): Map<number, BarEvents> {
  const starts = candles.map(({ start }) => secondsOf(start));
  const found = new Map<number, BarEvents>();
  function at(time: number, inclusive: boolean): BarEvents | null {
    const start = starts[barAt(starts, time, inclusive)];
    // One bar of grace: a fill may come with the first quote of a bar that is not complete yet.
    if (start === undefined || time > start + 2 * bar_s) return null;
    const events = found.get(start) ?? { signals: [], fills: [] };
    found.set(start, events);
    return events;
  }
  for (const signal of signals) at(secondsOf(signal.time), false)?.signals.push(signal);
  for (const order of orders) {
    for (const fill of order.fills) at(secondsOf(fill.time), true)?.fills.push({ fill, order });
  }
  return found;
}

/** Marks in the order of time, as the chart wants them. */
export function marksOf(events: Map<number, BarEvents>): Mark[] {
  return [...events]
    .sort(([a], [b]) => a - b)
    .flatMap(([time, { signals, fills }]): Mark[] => [
      ...signals.map(({ id, direction }): Mark => ({
        id: `signal-${id}`,
        time,
        kind: 'signal',
        side: direction === 'BUY' ? 'buy' : 'sell',
      })),
      ...fills.map(({ fill }): Mark => ({
        id: `fill-${fill.id}`,
        time,
        kind: 'fill',
        side: signOf(fill.units) < 0 ? 'sell' : 'buy',
      })),
    ]);
}
