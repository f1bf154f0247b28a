import type { EquityPoint } from '../../shared/api/model';

/**
 * Points of the present pass of the replay, one a market time, oldest first.
 *
 * Market time steps back where the replay was started again; of points with one time the last
 * counts.
 */
export function thisPass(points: readonly EquityPoint[]): EquityPoint[] {
  const kept: EquityPoint[] = [];
  for (const point of points.toReversed()) {
    const next = kept.at(-1);
    const step = next === undefined ? 1 : Date.parse(next.time) - Date.parse(point.time);
    if (step < 0) break;
    if (step > 0) kept.push(point);
  }
  return kept.reverse();
}
