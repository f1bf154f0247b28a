// @vitest-environment happy-dom
import { QueryClient } from '@tanstack/react-query';
import { act } from 'react';
import { expect, test } from 'vitest';

import { buttonNamed, click, enter, find, render, serve, settle } from '../../../tests/render';
import { brokerWith, orderWith, tradeWith } from '../../../tests/samples';
import { TicketPanel } from './ticket-panel';

/** Answer what asks for an order; the venue's terms are not told. */
function serveOrders(answer: () => { status?: number; body: unknown }) {
  const calls = serve(({ method }) =>
    method === 'POST' ? answer() : { status: 404, body: { code: 'x', message: 'x' } },
  );
  return { orders: () => calls.filter(({ method }) => method === 'POST') };
}

const outcome = (place: HTMLElement) => find(place, '.ticket-outcome').textContent;

test('a denied order shows why', async () => {
  const calls = serveOrders(() => ({
    status: 202,
    body: orderWith({
      state: 'DENIED',
      denied_rule: 'size',
      denied_reason: 'size: 5000, allowed is at most 2000',
    }),
  }));
  const place = await render(<TicketPanel instrument="EUR_USD" />);
  await click(buttonNamed(place, 'Sell'));
  expect(outcome(place)).toBe('Denied: size: 5,000, allowed is at most 2,000. Its checks');
  expect(calls.orders()[0]).toMatchObject({
    path: '/api/place-order?wait=2',
    method: 'POST',
    body: { instrument: 'EUR_USD', type: 'MARKET', units: '-1000' },
  });
});

test('a filled order shows its price', async () => {
  serveOrders(() => ({
    body: orderWith({ state: 'FILLED', filled_units: '1000', average_price: '1.05123' }),
  }));
  const place = await render(<TicketPanel instrument="EUR_USD" />);
  await click(buttonNamed(place, 'Buy'));
  expect(outcome(place)).toBe('Filled 1,000 at 1.05123.');
});

test('an attempt whose answer was lost keeps its key, the next order has another', async () => {
  let lost = true;
  const calls = serveOrders(() => {
    if (lost) throw new TypeError('network');
    return { body: orderWith({ state: 'QUEUED' }) };
  });
  const place = await render(<TicketPanel instrument="EUR_USD" />);
  await click(buttonNamed(place, 'Buy'));
  expect(outcome(place)).toContain('The server could not be reached.');
  lost = false;
  await click(buttonNamed(place, 'Buy'));
  await click(buttonNamed(place, 'Buy'));
  const keys = calls.orders().map(({ headers }) => headers.get('Idempotency-Key'));
  const [first, second, third] = keys;
  expect(first).toMatch(/^[0-9a-f]{32}$/);
  expect(second).toBe(first);
  expect(third).not.toBe(first);
});

test('what the API refuses is shown beside the field that it is about', async () => {
  serveOrders(() => ({
    status: 400,
    body: {
      code: 'invalid',
      message: 'Some fields are not valid.',
      fields: { units: ['must be at most 1000, was 90000.'] },
    },
  }));
  const place = await render(<TicketPanel instrument="EUR_USD" />);
  await click(buttonNamed(place, 'Buy'));
  expect(outcome(place)).toContain('Units: must be at most 1,000, was 90,000.');
  expect(find(place, 'input[aria-invalid="true"]').parentElement?.textContent).toBe('Units');
});

test('the ticket offers what the venue takes, and each kind has its own fields', async () => {
  const calls = serve(({ path, method }) => {
    if (method === 'POST') return { body: orderWith({ state: 'ACCEPTED' }) };
    if (path.startsWith('/api/trades')) {
      return { body: { count: 1, next: null, previous: null, results: [tradeWith({ id: '42' })] } };
    }
    return { body: brokerWith({}) };
  });
  const place = await render(<TicketPanel instrument="EUR_USD" />);
  const kinds = [...find(place, 'select').querySelectorAll('option')].map(({ value }) => value);
  expect(kinds).toEqual(['MARKET', 'TRAILING_STOP_LOSS']);
  await enter(find(place, 'select'), 'TRAILING_STOP_LOSS');
  const labels = [...place.querySelectorAll('form > label')];
  const names = labels.map((label) => label.firstChild?.textContent);
  expect(names).toEqual(['Order', 'Units', 'Of trade', 'Distance']);
  await enter(find(place, 'label:nth-of-type(3) select'), '42');
  await enter(find(place, 'input'), '0.0050');
  await click(buttonNamed(place, 'Place'));
  expect(calls.find(({ method }) => method === 'POST')?.body).toEqual({
    instrument: 'EUR_USD',
    type: 'TRAILING_STOP_LOSS',
    trailing_distance: '0.0050',
    trade_id: '42',
  });
});

test('what became of an order is followed after its answer', async () => {
  let state = 'QUEUED';
  serve(({ path, method }) => {
    const second = state === 'QUEUED' ? 0 : 1;
    const order = orderWith({ id: 9, state, updated_at: `2026-01-01T00:00:0${second}Z` });
    if (method === 'POST') return { body: order };
    if (path.startsWith('/api/orders')) {
      return { body: { count: 1, next: null, previous: null, results: [order] } };
    }
    return { status: 404, body: { code: 'x', message: 'x' } };
  });
  const client = new QueryClient();
  const place = await render(<TicketPanel instrument="EUR_USD" />, client);
  await click(buttonNamed(place, 'Buy'));
  expect(outcome(place)).toBe('Order 9 is queued.');
  state = 'ACCEPTED';
  await act(() => client.invalidateQueries({ queryKey: ['orders'] }));
  await act(settle);
  expect(outcome(place)).toBe('Order 9 is working.');
});

test('who may order in several instruments chooses, and begins with empty prices', async () => {
  const instruments = ['EUR_USD', 'GBP_USD', 'USD_JPY'].map((name) => ({
    name,
    enabled: name !== 'GBP_USD',
  }));
  const calls = serve(({ method, path }) => {
    if (method === 'POST') return { body: orderWith({ state: 'QUEUED' }) };
    if (path !== '/api/instruments') return { status: 404, body: { code: 'x', message: 'x' } };
    return { body: { count: 3, next: null, previous: null, results: instruments } };
  });
  const place = await render(<TicketPanel instrument="EUR_USD" />);
  const choice = find(place, 'select');
  expect([...choice.querySelectorAll('option')].map(({ textContent }) => textContent)).toEqual([
    'EUR/USD',
    'USD/JPY',
  ]);
  await enter(find(place, 'input[placeholder="default"]'), '1.05');
  await enter(choice, 'USD_JPY');
  await click(buttonNamed(place, 'Sell'));
  expect(calls.find(({ method }) => method === 'POST')?.body).toEqual({
    instrument: 'USD_JPY',
    type: 'MARKET',
    units: '-1000',
  });
});
