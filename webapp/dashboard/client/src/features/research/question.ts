import type { RunAsk, RunData, RunKind } from '../../shared/api/research';

/** What the start form holds, as text. */
export type Question = {
  kind: RunKind;
  /** Which bars: the sample, "stored:" and a data set, or "candles:" and an instrument. */
  source: string;
  from: string;
  to: string;
  /** Of evidence: the rules that SEP starts with, those of `rules`, or all of `grid`. */
  family: 'default' | 'own' | 'grid';
  rules: string;
  rule: string;
  grid: string;
  spread_pips: string;
  /** Hours to enter within, "" for always. */
  session: string;
  /** Of rules that are no grid: "open" or "close". */
  entry: string;
  surrogates: string;
  seed: string;
};

const SAMPLE = 'eur_usd_h1';
export const STORED = 'stored:';
export const CANDLES = 'candles:';

const RULE = {
  direction: 'last_bit_reversal',
  window: 64,
  gates: [{ metric: 'coherence', percentile: [80, 100] }],
  horizon_bars: 4,
  stop_ticks: 300,
  units: '1000',
};

const GRID = {
  direction: ['last_bit_reversal', 'last_bit_momentum', 'damped'],
  window: [32, 64],
  gates: [[], [{ metric: 'coherence', percentile: [80, 100] }]],
  horizon_bars: [1, 4, 16],
  stop_ticks: 'none',
};

export const START: Question = {
  kind: 'evidence',
  source: 'sample',
  from: '',
  to: '',
  family: 'default',
  rules: JSON.stringify([RULE], null, 2),
  rule: JSON.stringify(RULE, null, 2),
  grid: JSON.stringify(GRID, null, 2),
  spread_pips: '',
  session: '',
  entry: 'open',
  surrogates: '200',
  seed: '0',
};

/** What is wrong before the server is asked: text that is no JSON. Null: nothing. */
export function faultOf(question: Question): string | null {
  const text = textOf(question);
  if (text === null) return null;
  try {
    JSON.parse(text);
    return null;
  } catch {
    return 'This is not JSON yet.';
  }
}

/** The JSON text that the kind of question needs, null for none. */
function textOf({ kind, family, rules, rule, grid }: Question): string | null {
  if (kind === 'backtest') return rule;
  if (kind === 'sweep' || family === 'grid') return grid;
  return family === 'own' ? rules : null;
}

/** Whether the form asks when to enter: a grid says it itself. */
export function asksEntry({ kind, family }: Question): boolean {
  return kind === 'backtest' || (kind === 'evidence' && family !== 'grid');
}

/** The request that a question is; call it without a fault. */
export function askOf(question: Question): RunAsk {
  const data = dataOf(question);
  const spread = question.spread_pips.trim();
  const session = question.session.trim();
  const more = {
    ...(spread === '' ? {} : { spread_pips: spread }),
    ...(session === '' ? {} : { session }),
  };
  const late = asksEntry(question) && question.entry === 'close';
  const entry = late ? ({ entry: 'close' } as const) : {};
  const parsed = parse(textOf(question));
  if (question.kind === 'backtest') {
    return { kind: 'backtest', body: { data, ...more, ...entry, rule: parsed } };
  }
  if (question.kind === 'sweep') return { kind: 'sweep', body: { data, ...more, grid: parsed } };
  const rules =
    parsed === undefined
      ? {}
      : question.family === 'grid'
        ? { grid: parsed }
        : { rules: Array.isArray(parsed) ? parsed : [parsed] };
  return {
    kind: 'evidence',
    body: {
      data,
      ...more,
      ...entry,
      ...rules,
      surrogates: Number(question.surrogates),
      seed: Number(question.seed),
    },
  };
}

function dataOf({ source, from, to }: Question): RunData {
  if (source.startsWith(STORED)) return { stored: source.slice(STORED.length) };
  if (!source.startsWith(CANDLES)) return { sample: SAMPLE };
  return {
    instrument: source.slice(CANDLES.length),
    ...(from === '' ? {} : { from: `${from}T00:00:00Z` }),
    ...(to === '' ? {} : { to: `${to}T23:59:59Z` }),
  };
}

function parse(text: string | null): unknown {
  return text === null ? undefined : JSON.parse(text);
}
