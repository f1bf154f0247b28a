/** The metrics that the lower pane can show. */
export const METRICS = [
  { name: 'coherence', colour: '--metric-coherence' },
  { name: 'entropy', colour: '--metric-entropy' },
  { name: 'stability', colour: '--metric-stability' },
] as const;

export type MetricName = (typeof METRICS)[number]['name'];

/** A fair coin stays below this in 95 of 100 windows. */
export const COIN_LEVEL = 95;
