import type { Figure, Run, RunKind, RunState } from '../../shared/api/research';
import { MISSING } from '../../shared/format';

export const KINDS: Record<RunKind, string> = {
  evidence: 'Evidence',
  backtest: 'Backtest',
  sweep: 'Sweep',
};

export const STATES: Record<RunState, string> = {
  QUEUED: 'waiting',
  RUNNING: 'running',
  DONE: 'done',
  FAILED: 'failed',
  CANCELLED: 'cancelled',
};

export const OPEN: Record<RunState, boolean> = {
  QUEUED: true,
  RUNNING: true,
  DONE: false,
  FAILED: false,
  CANCELLED: false,
};

const whole = new Intl.NumberFormat('en-GB');
const pips = new Intl.NumberFormat('en-GB', {
  minimumFractionDigits: 2,
  maximumFractionDigits: 2,
  signDisplay: 'exceptZero',
});

/** "4.83 pips", "0.556", "1,234", or what stands where a number is missing. */
export function figureText({ value, unit }: Pick<Figure, 'value' | 'unit'>): string {
  if (value === null) return MISSING;
  if (unit === 'pips') return `${pips.format(value)} pips`;
  if (unit === 'share') return value.toFixed(3);
  return Number.isInteger(value) ? whole.format(value) : value.toFixed(2);
}

/** "EUR_USD H1, 6,225 bars". */
export function dataText({ data }: Run): string {
  const candles = `${data.instrument ?? ''} ${data.granularity ?? ''}`.trim();
  const name = data.sample ?? data.stored ?? candles;
  return `${name}, ${whole.format(data.bars)} bars`;
}

/** The first digits of a run's address: enough to tell runs apart. */
export function shortId(id: string): string {
  return id.slice(0, 12);
}

/** "75 %" of a run that is computed. */
export function progressText(share: number): string {
  return `${Math.floor(share * 100)} %`;
}
