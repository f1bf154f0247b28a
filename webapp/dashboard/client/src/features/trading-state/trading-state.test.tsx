// @vitest-environment happy-dom
import { act } from 'react';
import { expect, test } from 'vitest';

import { buttonNamed, click, enter, find, render, serve, settle } from '../../../tests/render';
import { closings } from '../../shared/api/model';
import { closingText, isLooser } from './severity';
import { TradingStateControl } from './trading-state';

const active = { state: 'ACTIVE', reason: '' } as const;
const halted = { state: 'HALTED', reason: 'fire' } as const;

const breakout = {
  id: 7,
  name: 'Break',
  enabled: true,
  rule: {},
  session: '',
  verdict: 'unproven',
  verdict_text: '',
  verdict_run: '',
};

const closing = {
  id: 1,
  account: 'Paper',
  strategy: null,
  reason: 'enough',
  asked_by: 'alice',
  asked_at: '2026-01-05T12:00:00Z',
  ended_at: null,
  ended_because: '',
  left: [
    { what: 'position', name: 'EUR_USD', units: '1000', why: 'the pair is halted' },
    { what: 'order', name: '7', units: '-500', why: 'ACCEPTED, at the venue' },
  ],
};
const [parsed] = closings.parse({ closings: [closing] }).closings;
if (parsed === undefined) throw new Error('a closing was not read');

async function type(place: HTMLElement, selector: string, text: string): Promise<void> {
  const input = find(place, selector);
  if (!(input instanceof HTMLInputElement)) throw new Error(`${selector} takes no text`);
  await act(async () => {
    // Past React's own watch on the property, as a person's typing is.
    Reflect.set(HTMLInputElement.prototype, 'value', text, input);
    input.dispatchEvent(new Event('input', { bubbles: true }));
    await settle();
  });
}

const text = 'input:not([type])';

test('a halt asks for a reason alone and says of what', async () => {
  const calls = serve(() => ({ body: {} }));
  const trading = { ...active, global: active, account: active, strategy: active };
  const place = await render(<TradingStateControl trading={trading} strategy={null} />);
  await click(find(place, 'button.trading-state'));
  expect(place.querySelector('input[type="password"]')).toBeNull();
  await type(place, text, 'fire');
  await click(buttonNamed(place, 'Set halted'));
  expect(calls.find(({ method }) => method === 'POST')).toMatchObject({
    path: '/api/trading/state',
    body: { scope: 'ACCOUNT', state: 'HALTED', reason: 'fire', proof: '' },
  });
});

test('a halt does not wait for words, a re-arming and closing everything do', async () => {
  const calls = serve(() => ({ body: {} }));
  const trading = { ...active, global: active, account: active, strategy: active };
  const place = await render(<TradingStateControl trading={trading} strategy={null} />);
  await click(find(place, 'button.trading-state'));
  expect(find(place, text)).toHaveProperty('required', false);
  expect(buttonNamed(place, 'Close everything')).toHaveProperty('disabled', true);
  await click(buttonNamed(place, 'Set halted'));
  expect(calls.find(({ method }) => method === 'POST')?.body).toMatchObject({
    state: 'HALTED',
    reason: 'From the dashboard',
  });
});

test('re-arming asks for the password of who has no second factor', async () => {
  const calls = serve(({ path }) =>
    path.endsWith('second-factor')
      ? { body: { enrolled: false, recovery_codes_left: 0 } }
      : {
          status: 400,
          body: { code: 'invalid', message: 'No.', fields: { proof: ['The password is wrong.'] } },
        },
  );
  const trading = { ...halted, global: active, account: halted, strategy: active };
  const place = await render(<TradingStateControl trading={trading} strategy={null} />);
  await click(find(place, 'button.trading-state'));
  expect(find(place, text)).toHaveProperty('required', true);
  await type(place, text, 'over');
  await type(place, 'input[type="password"]', 'hunter2');
  await click(buttonNamed(place, 'Set active'));
  expect(calls.at(-1)?.body).toEqual({
    scope: 'ACCOUNT',
    state: 'ACTIVE',
    reason: 'over',
    proof: 'hunter2',
  });
  expect(find(place, '[role="alert"]').textContent).toBe('The password is wrong.');
});

test('close everything tells what is left and why', async () => {
  let asked = false;
  const calls = serve(({ method, path }) => {
    if (path !== '/api/trading/close-everything') return { body: {} };
    if (method !== 'GET') asked = true;
    return { body: { closings: asked ? [closing] : [] } };
  });
  const trading = { ...active, global: active, account: active, strategy: active };
  const place = await render(<TradingStateControl trading={trading} strategy={null} />);
  await click(find(place, 'button.trading-state'));
  expect(place.querySelector('[role="status"]')).toBeNull();
  await type(place, text, 'enough');
  await click(buttonNamed(place, 'Close everything'));
  expect(calls.find(({ method }) => method === 'POST')).toMatchObject({
    path: '/api/trading/close-everything',
    body: { reason: 'enough', scope: 'ACCOUNT' },
  });
  const said = find(place, '[role="status"]');
  expect(find(said, 'p').textContent).toBe('Closing: 1 position and 1 order left.');
  expect([...said.querySelectorAll('li')].map((line) => line.textContent)).toEqual([
    'EUR/USD, 1,000 units: the pair is halted.',
    'Order 7, sell 500: working, at the venue.',
  ]);
});

test('a closing that has not ended is told to who opens the dialog', async () => {
  serve(() => ({ body: { closings: [closing] } }));
  const trading = { ...active, global: active, account: active, strategy: active };
  const place = await render(<TradingStateControl trading={trading} strategy={null} />);
  await click(find(place, 'button.trading-state'));
  expect(find(place, '[role="status"] p').textContent).toBe(
    'Closing: 1 position and 1 order left.',
  );
});

test('the end of a closing says how it ended', () => {
  const ended = { ...parsed, ended_at: '2026-01-05T12:00:09Z', left: [] };
  expect(closingText({ ...ended, ended_because: 'flat' })).toBe(
    'Flat: no position and no order is left.',
  );
  expect(closingText({ ...ended, ended_because: 'bob lets it trade again' })).toBe(
    'It goes no further: bob lets it trade again.',
  );
  expect(closingText({ ...parsed, left: [] })).toBe('Closing: the trader looks once more.');
});

test('the dialog begins with what holds trading, and follows the chosen scope', async () => {
  serve(() => ({ body: {} }));
  const trading = { ...halted, global: halted, account: active, strategy: active };
  const place = await render(<TradingStateControl trading={trading} strategy={null} />);
  await click(find(place, 'button.trading-state'));
  expect(find(place, 'select')).toHaveProperty('value', 'GLOBAL');
  expect(find(place, 'button.primary').textContent).toBe('Set active');
  await enter(find(place, 'select'), 'ACCOUNT');
  expect(find(place, 'button.primary').textContent).toBe('Set halted');
});

test('the strategy that the dialog shows is the one that is halted and closed', async () => {
  const calls = serve(() => ({ body: {} }));
  const trading = { ...active, global: active, account: active, strategy: active };
  const place = await render(<TradingStateControl trading={trading} strategy={breakout} />);
  await click(find(place, 'button.trading-state'));
  await enter(find(place, 'select'), 'STRATEGY');
  expect(find(place, 'option[value="STRATEGY"]').textContent).toBe('Break: active');
  await type(place, text, 'fire');
  await click(buttonNamed(place, 'Close everything'));
  await click(buttonNamed(place, 'Set halted'));
  const asked = calls.filter(({ method }) => method === 'POST');
  expect(asked.map(({ body }) => body)).toEqual([
    { scope: 'STRATEGY', strategy: 7, reason: 'fire' },
    { scope: 'STRATEGY', strategy: 7, state: 'HALTED', reason: 'fire', proof: '' },
  ]);
});

test('only a step to a state that allows more is re-arming', () => {
  expect(isLooser('ACTIVE', 'HALTED')).toBe(true);
  expect(isLooser('REDUCING', 'HALTED')).toBe(true);
  expect(isLooser('HALTED', 'REDUCING')).toBe(false);
  expect(isLooser('ACTIVE', 'ACTIVE')).toBe(false);
});
