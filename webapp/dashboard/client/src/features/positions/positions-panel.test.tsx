// @vitest-environment happy-dom
import { QueryClient } from '@tanstack/react-query';
import { act } from 'react';
import { expect, test } from 'vitest';

import { click, enter, find, render, serve, settle } from '../../../tests/render';
import { orderWith, positionWith } from '../../../tests/samples';
import { Told, toldIn } from '../../../tests/told';
import { ordersQuery } from '../../shared/api/queries';
import { PositionsPanel } from './positions-panel';

function panel(client?: QueryClient) {
  return render(
    <>
      <PositionsPanel />
      <Told />
    </>,
    client,
  );
}

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
  const place = await panel();
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
  const place = await panel();
  const [, short] = place.querySelectorAll('button[aria-label="Close EUR/USD"]');
  if (!(short instanceof HTMLElement)) throw new Error('the short side has no button');
  await click(short);
  expect(calls.at(-1)).toMatchObject({
    path: '/api/positions/EUR_USD/close',
    body: { side: 'SHORT' },
  });
});

test('a part whose answer was lost keeps its key, another part has another', async () => {
  let lost = true;
  const calls = serve(({ path, method }) => {
    if (method === 'POST' && lost) throw new TypeError('network');
    if (method === 'POST') return { body: orderWith({ state: 'FILLED' }) };
    const results = path.startsWith('/api/positions') ? [positionWith({ units: '1000' })] : [];
    return { body: { count: null, next: null, previous: null, results } };
  });
  const place = await panel();
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

test.each([
  [
    { state: 'FILLED', average_price: '1.05123', filled_units: '-1000' },
    'info: Closed 1,000 of EUR/USD at 1.05123.',
  ],
  [
    { state: 'DENIED', denied_rule: 'trading_state', denied_reason: 'trading_state: HALTED' },
    'error: EUR/USD is not closed. Order 5 was denied: trading state: HALTED.',
  ],
  [
    { state: 'REJECTED', cause: 'MARKET_HALTED' },
    'error: EUR/USD is not closed. Order 5 was rejected: MARKET_HALTED.',
  ],
  [
    { state: 'UNKNOWN' },
    'error: Order 5, to close EUR/USD: no clear answer came. The broker is asked.',
  ],
])('what became of a close is told, even once its row is gone: %o', async (end, words) => {
  const order = orderWith({ id: 5, state: 'QUEUED', units: '-1000' });
  serve(({ path, method }) => ({
    body:
      method === 'POST'
        ? order
        : {
            count: null,
            next: null,
            previous: null,
            results: path.startsWith('/api/positions') ? [positionWith({})] : [],
          },
  }));
  const client = new QueryClient({ defaultOptions: { mutations: { networkMode: 'always' } } });
  client.setQueryData(ordersQuery.queryKey, [order]);
  const place = await panel(client);
  await click(find(place, 'button[aria-label="Close EUR/USD"]'));
  expect(find(place, 'button[aria-label="Close EUR/USD"]').textContent).toBe('Closing');
  expect(toldIn(place)).toEqual([]);
  await act(async () => {
    client.setQueryData(['positions'], []);
    client.setQueryData(ordersQuery.queryKey, [orderWith({ ...order, ...end })]);
    await settle();
  });
  expect(toldIn(place)).toEqual([words]);
  // Once: what the order does later is the desk's to show.
  await act(async () => {
    client.setQueryData(ordersQuery.queryKey, [orderWith({ ...order, ...end })]);
    await settle();
  });
  expect(toldIn(place)).toHaveLength(1);
});

test('all that is held is asked for anew once something else is held', async () => {
  let units = '1000';
  const calls = serve(({ path, method }) => {
    if (method === 'POST') throw new TypeError('network');
    const results = path.startsWith('/api/positions') ? [positionWith({ units })] : [];
    return { body: { count: null, next: null, previous: null, results } };
  });
  const client = new QueryClient({ defaultOptions: { mutations: { networkMode: 'always' } } });
  const place = await panel(client);
  const press = () => click(find(place, 'button[aria-label="Close EUR/USD"]'));
  await press();
  await press();
  units = '400';
  await act(() => client.invalidateQueries({ queryKey: ['positions'] }));
  await act(settle);
  await press();
  const closes = calls.filter(({ method }) => method === 'POST');
  const [first, second, third] = closes.map(({ headers }) => headers.get('Idempotency-Key'));
  expect(second).toBe(first);
  expect(third).not.toBe(first);
});
