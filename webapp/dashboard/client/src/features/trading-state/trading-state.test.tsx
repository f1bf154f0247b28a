// @vitest-environment happy-dom
import { act } from 'react';
import { expect, test } from 'vitest';

import { buttonNamed, click, find, render, serve, settle } from '../../../tests/render';
import { orderWith, positionWith } from '../../../tests/samples';
import { isLooser, leftText } from './severity';
import { TradingStateControl } from './trading-state';

const active = { state: 'ACTIVE', reason: '' } as const;
const halted = { state: 'HALTED', reason: 'fire' } as const;

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
  const place = await render(<TradingStateControl trading={trading} />);
  await click(find(place, 'button.trading-state'));
  expect(place.querySelector('input[type="password"]')).toBeNull();
  await type(place, text, 'fire');
  await click(buttonNamed(place, 'Set halted'));
  expect(calls[0]).toMatchObject({
    path: '/api/trading/state',
    body: { scope: 'ACCOUNT', state: 'HALTED', reason: 'fire', proof: '' },
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
  const place = await render(<TradingStateControl trading={trading} />);
  await click(find(place, 'button.trading-state'));
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

test('close everything tells what is left', async () => {
  const calls = serve(({ path }) => {
    if (path.startsWith('/api/positions')) return { body: page([positionWith({})]) };
    if (path.startsWith('/api/orders')) return { body: page([orderWith({ state: 'ACCEPTED' })]) };
    return { body: {} };
  });
  const trading = { ...active, global: active, account: active, strategy: active };
  const place = await render(<TradingStateControl trading={trading} />);
  await click(find(place, 'button.trading-state'));
  await type(place, text, 'enough');
  await click(buttonNamed(place, 'Close everything'));
  expect(calls[0]).toMatchObject({
    path: '/api/trading/close-everything',
    body: { reason: 'enough', scope: 'ACCOUNT' },
  });
  expect(find(place, '[role="status"]').textContent).toBe('Closing: 1 position and 1 order left.');
});

test('what is left is counted without what has ended', () => {
  expect(leftText([positionWith({ units: '0' })], [orderWith({ state: 'FILLED' })])).toBe(
    'Flat: no position and no order is left.',
  );
});

test('only a step to a state that allows more is re-arming', () => {
  expect(isLooser('ACTIVE', 'HALTED')).toBe(true);
  expect(isLooser('REDUCING', 'HALTED')).toBe(true);
  expect(isLooser('HALTED', 'REDUCING')).toBe(false);
  expect(isLooser('ACTIVE', 'ACTIVE')).toBe(false);
});

function page(results: unknown[]): unknown {
  return { count: results.length, next: null, previous: null, results };
}
