import type { UTCTimestamp } from 'lightweight-charts';

/** Whole seconds since 1970 of an instant. */
export const secondsOf = (instant: string): number => Date.parse(instant) / 1000;

/** Seconds since 1970 in the brand that the chart library gives its times. */
export function chartTime(seconds: number): UTCTimestamp {
  // The library has no maker of its own for the brand; this is the one place that makes it.
  // eslint-disable-next-line @typescript-eslint/consistent-type-assertions
  return seconds as UTCTimestamp;
}
