import { expect, test } from 'vitest';

import { isClass, ruleText } from './rule-text';

const RULE = {
  encoding: 'moves',
  window: 64,
  direction: 'last_bit_reversal',
  invert: false,
  gates: [],
  horizon_bars: 4,
  stop_ticks: 300,
  target_ticks: null,
  units: '1000',
};

test('a rule is told in words, with gates by percentile and by value', () => {
  const gates = [
    { metric: 'path_similarity', percentile: [80, 100] },
    { metric: 'entropy', percentile: [0, 10] },
    { metric: 'confidence_low', value: [0.4, 0.9] },
    { metric: 'collapse', value: [0, 0] },
  ];
  expect(ruleText({ ...RULE, gates })).toBe(
    'last bit reversal over 64 moves, path similarity percentile ≥ 80, ' +
      'entropy percentile 0 to 10, confidence low 0.4 to 0.9, collapse 0, 1,000 units, ' +
      'stop 300 ticks, 4 bars',
  );
});

test('a class is told by its name, the hash of its source and its exits', () => {
  const stored = {
    strategy: 'Breakout',
    source_sha256: '1f3a5c7d9e0b2468ace0',
    horizon_bars: 4,
    stop_ticks: 300,
    target_ticks: null,
    units: '1000',
  };
  expect(ruleText(stored)).toBe(
    'class Breakout, source 1f3a5c7d9e0b, 1,000 units, stop 300 ticks, 4 bars',
  );
  expect(ruleText({ ...stored, stop_ticks: null, target_ticks: 90 })).toBe(
    'class Breakout, source 1f3a5c7d9e0b, 1,000 units, no stop of its own, target 90 ticks, 4 bars',
  );
  expect([isClass(stored), isClass(RULE)]).toEqual([true, false]);
});

test('a rule that the page has no words for is shown as it is stored', () => {
  const stored = { ...RULE, gates: [{ metric: 'entropy', quantile: [0, 1] }] };
  expect(ruleText(stored)).toBe(JSON.stringify(stored));
});
