// @vitest-environment happy-dom
import { expect, test } from 'vitest';

import { render } from '../../../tests/render';
import { statusWith } from '../../../tests/samples';
import { StrategyPanel } from './strategy-panel';

const RULE = {
  encoding: 'moves',
  window: 64,
  direction: 'last_bit_reversal',
  gates: [],
  horizon_bars: 4,
  stop_ticks: 300,
  units: '1000',
};
const CLASS = {
  strategy: 'Breakout',
  source_sha256: '1f3a5c7d9e0b2468ace0',
  horizon_bars: 4,
  stop_ticks: 300,
  target_ticks: null,
  units: '1000',
};

async function shown(rule: Record<string, unknown>): Promise<string> {
  const strategy = {
    id: 3,
    name: 'mine',
    enabled: true,
    rule,
    session: '',
    verdict: 'unproven',
    verdict_text: 'Unproven.',
    verdict_run: '',
  };
  return (await render(<StrategyPanel status={statusWith({ strategy })} />)).textContent;
}

test('a rule can be judged here', async () => {
  const text = await shown(RULE);
  expect(text).toContain('Judge this rule');
  expect(text).not.toContain('Its own code decides');
});

test('a class says that its own code decides, and where it is judged', async () => {
  const text = await shown(CLASS);
  expect(text).toContain('class Breakout, source 1f3a5c7d9e0b');
  expect(text).toContain('judged by sep verdict --strategy, not here');
  expect(text).not.toContain('Judge this rule');
  expect(text).toContain('Unproven.');
});
