// @vitest-environment happy-dom
import { expect, test } from 'vitest';

import { buttonNamed, click, enter, find, render, serve } from '../../../tests/render';
import { LiveGateButton } from './live-gate';

const STRATEGY = { id: 3, name: 'default' };
const CLOSED = {
  allowed: false,
  reason: 'no verdict on this rule since its last change',
  verdict: 'unproven',
  verdict_text: 'Not judged yet.',
  in_force: null,
  overrides: [],
};
const MADE = {
  id: 8,
  reason: 'a test of fills',
  made_by: 'alice',
  created_at: '2026-01-01T09:30:00Z',
  withdrawn_by: '',
  withdrawn_at: null,
};

async function opened(): Promise<HTMLElement> {
  const place = await render(<LiveGateButton strategy={STRATEGY} />);
  await click(buttonNamed(place, 'Live gate'));
  return place;
}

test('a closed gate says why, and that nobody overrode it', async () => {
  serve(() => ({ body: CLOSED }));
  const place = await opened();
  expect(find(place, '.live-gate').textContent).toBe(
    'opens nothing no verdict on this rule since its last change',
  );
  expect(place.textContent).toContain('Nobody has overridden its verdict.');
});

test('where the strategy may open positions no override is asked for', async () => {
  serve(() => ({ body: { ...CLOSED, allowed: true, reason: 'a paper account' } }));
  const place = await opened();
  expect(find(place, '.live-gate').textContent).toBe('may open positions a paper account');
  expect(place.querySelector('form')).toBeNull();
});

test('an override needs a reason and the name typed, and then says who and when', async () => {
  const calls = serve(({ method }) =>
    method === 'POST'
      ? { status: 201, body: MADE }
      : {
          body: calls.some((call) => call.method === 'POST')
            ? {
                ...CLOSED,
                allowed: true,
                reason: 'override by alice',
                in_force: 8,
                overrides: [MADE],
              }
            : CLOSED,
        },
  );
  const place = await opened();
  const [reason, name] = place.querySelectorAll('input');
  if (reason === undefined || name === undefined) throw new Error('two fields are asked for');
  await enter(reason, 'a test of fills');
  await enter(name, 'defaul');
  expect(buttonNamed(place, 'Override the verdict')).toHaveProperty('disabled', true);
  await enter(name, 'default');
  await click(buttonNamed(place, 'Override the verdict'));
  expect(calls.find(({ method }) => method === 'POST')).toMatchObject({
    path: '/api/strategies/3/live-gate',
    body: { reason: 'a test of fills', confirmation: 'default' },
  });
  expect(find(place, '.overrides').textContent).toBe(
    'a test of fillsalice, 01 Jan 2026, 09:30 UTC; in force',
  );
  expect(place.querySelector('form')).toBeNull();
});

test('an override is withdrawn, and stays in the list with who ended it', async () => {
  const ended = { ...MADE, withdrawn_by: 'bob', withdrawn_at: '2026-01-02T10:00:00Z' };
  const calls = serve(({ method }) => ({
    body:
      method === 'DELETE'
        ? { ...CLOSED, overrides: [ended] }
        : { ...CLOSED, allowed: true, in_force: 8, overrides: [MADE] },
  }));
  const place = await opened();
  await click(buttonNamed(place, 'Withdraw the override'));
  expect(calls.at(-1)).toMatchObject({ method: 'DELETE', path: '/api/strategies/3/live-gate' });
  const told = find(place, '.overrides').textContent;
  expect(told).toContain('withdrawn by bob, 02 Jan 2026, 10:00 UTC');
});

test('an override that a later change ended says so', async () => {
  serve(() => ({ body: { ...CLOSED, overrides: [MADE] } }));
  const place = await opened();
  expect(find(place, '.overrides').textContent).toContain('ended with a change of the strategy');
});
