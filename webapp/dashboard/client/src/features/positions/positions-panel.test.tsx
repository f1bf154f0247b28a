// @vitest-environment happy-dom
import { expect, test } from 'vitest';

import { click, enter, find, render, serve } from '../../../tests/render';
import { positionWith } from '../../../tests/samples';
import { PositionsPanel } from './positions-panel';

function holding(...changes: Record<string, unknown>[]) {
  return serve(({ path }) => ({
    body: {
      count: null,
      next: null,
      previous: null,
      results: path.startsWith('/api/positions') ? changes.map(positionWith) : [],
    },
  }));
}

test('a trailing stop is a stop: it is shown alone and beside a price', async () => {
  holding(
    { instrument: 'EUR_USD', stop_loss: null, trailing_distance: '0.01200' },
    { instrument: 'GBP_USD', stop_loss: '1.04700', trailing_distance: '0.01200' },
    { instrument: 'USD_CHF', stop_loss: null },
  );
  const place = await render(<PositionsPanel />);
  const stops = [...place.querySelectorAll('tbody td:nth-of-type(2)')];
  expect(stops.map((cell) => cell.textContent)).toEqual([
    'trailing 0.01200',
    '1.04700trailing 0.01200',
    'none',
  ]);
  expect(stops.map((cell) => cell.classList.contains('warn'))).toEqual([false, false, true]);
});

test('of two sides in one instrument the one that is asked for is closed', async () => {
  const calls = holding({ side: 'LONG' }, { side: 'SHORT', units: '-600' });
  const place = await render(<PositionsPanel />);
  const [, short] = place.querySelectorAll('button[aria-label="Close EUR/USD"]');
  if (!(short instanceof HTMLElement)) throw new Error('the short side has no button');
  await click(short);
  expect(calls.at(-1)).toMatchObject({
    path: '/api/positions/EUR_USD/close',
    body: { side: 'SHORT' },
  });
});

test('a part whose answer was lost is asked for again with the same key, another part is not', async () => {
  let lost = true;
  const calls = serve(({ path, method }) => {
    if (method === 'POST' && lost) throw new TypeError('network');
    const results = path.startsWith('/api/positions') ? [positionWith({ units: '1000' })] : [];
    return { body: { count: null, next: null, previous: null, results } };
  });
  const place = await render(<PositionsPanel />);
  await click(find(place, 'button[aria-label="Close a part of EUR/USD"]'));
  await enter(find(place, 'dialog input'), '400');
  await click(find(place, 'dialog .danger'));
  lost = false;
  await click(find(place, 'dialog .danger'));
  await click(find(place, 'button[aria-label="Close a part of EUR/USD"]'));
  await enter(find(place, 'dialog input'), '400');
  await click(find(place, 'dialog .danger'));
  const closes = calls.filter(({ method }) => method === 'POST');
  const [first, second, third] = closes.map(({ headers }) => headers.get('Idempotency-Key'));
  expect(first).toMatch(/^[0-9a-f]{32}$/);
  expect(second).toBe(first);
  expect(third).not.toBe(first);
});
