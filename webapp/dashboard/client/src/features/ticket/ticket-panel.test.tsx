// @vitest-environment happy-dom
import { expect, test } from 'vitest';

import { buttonNamed, click, find, render, serve } from '../../../tests/render';
import { orderWith } from '../../../tests/samples';
import { TicketPanel } from './ticket-panel';

const outcome = (place: HTMLElement) => find(place, '.ticket-outcome').textContent;

test('a denied order shows why', async () => {
  const calls = serve(() => ({
    status: 202,
    body: orderWith({ state: 'DENIED', denied_reason: 'size 5000 is above 2000' }),
  }));
  const place = await render(<TicketPanel instrument="EUR_USD" />);
  await click(buttonNamed(place, 'Sell'));
  expect(outcome(place)).toBe('Denied: size 5000 is above 2000');
  expect(calls[0]).toMatchObject({
    path: '/api/place-order?wait=2',
    method: 'POST',
    body: { instrument: 'EUR_USD', type: 'MARKET', units: '-1000' },
  });
});

test('a filled order shows its price', async () => {
  serve(() => ({
    body: orderWith({ state: 'FILLED', filled_units: '1000', average_price: '1.05123' }),
  }));
  const place = await render(<TicketPanel instrument="EUR_USD" />);
  await click(buttonNamed(place, 'Buy'));
  expect(outcome(place)).toBe('Filled 1,000 at 1.05123.');
});

test('an attempt whose answer was lost is repeated with the same key, the next order is not', async () => {
  let lost = true;
  const calls = serve(() => {
    if (lost) throw new TypeError('network');
    return { body: orderWith({ state: 'QUEUED' }) };
  });
  const place = await render(<TicketPanel instrument="EUR_USD" />);
  await click(buttonNamed(place, 'Buy'));
  expect(outcome(place)).toContain('The server could not be reached.');
  lost = false;
  await click(buttonNamed(place, 'Buy'));
  await click(buttonNamed(place, 'Buy'));
  const [first, second, third] = calls.map(({ headers }) => headers.get('Idempotency-Key'));
  expect(first).toMatch(/^[0-9a-f]{32}$/);
  expect(second).toBe(first);
  expect(third).not.toBe(first);
});

test('what the API refuses is shown beside the field that it is about', async () => {
  serve(() => ({
    status: 400,
    body: { code: 'invalid', message: 'Some fields are not valid.', fields: { units: ['Too many.'] } },
  }));
  const place = await render(<TicketPanel instrument="EUR_USD" />);
  await click(buttonNamed(place, 'Buy'));
  expect(outcome(place)).toContain('Some fields are not valid. Too many.');
  expect(find(place, 'input[aria-invalid="true"]').parentElement?.textContent).toBe('Units');
});
