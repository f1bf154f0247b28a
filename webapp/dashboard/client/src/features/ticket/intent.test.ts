import { expect, test } from 'vitest';

import { faultOf, intentOf } from './intent';

const entry = { type: 'MARKET', units: '1000', price: '', stop_loss: '', take_profit: '' } as const;

test('a sale has negative units, and empty fields are not sent', () => {
  expect(intentOf('EUR_USD', entry, 'sell')).toEqual({
    instrument: 'EUR_USD',
    type: 'MARKET',
    units: '-1000',
  });
});

test('prices are sent as they were typed', () => {
  const limit = { ...entry, type: 'LIMIT', price: '1.05000', stop_loss: '1.04500' } as const;
  expect(intentOf('EUR_USD', limit, 'buy')).toMatchObject({
    units: '1000',
    price: '1.05000',
    stop_loss: '1.04500',
  });
});

test.each([
  [{ ...entry, units: '0' }, 'Units must be a number above 0.'],
  [{ ...entry, units: '-5' }, 'Units must be a number above 0.'],
  [{ ...entry, units: '1e3' }, 'Units must be a number above 0.'],
  [{ ...entry, type: 'STOP' as const }, 'A stop order needs a price.'],
  [{ ...entry, stop_loss: 'low' }, 'The stop loss must be a number.'],
  [entry, null],
])('an entry is looked at before it is sent: %o', (given, fault) => {
  expect(faultOf(given)).toBe(fault);
});
