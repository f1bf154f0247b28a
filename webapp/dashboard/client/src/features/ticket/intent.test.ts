import { expect, test } from 'vitest';

import { entryAs, faultOf, intentOf, START as entry, type Entry } from './intent';

test('a sale has negative units, and empty fields are not sent', () => {
  expect(intentOf('EUR_USD', entry, 'sell')).toEqual({
    instrument: 'EUR_USD',
    type: 'MARKET',
    units: '-1000',
  });
});

test('prices are sent as they were typed', () => {
  const limit: Entry = { ...entry, type: 'LIMIT', price: '1.05000', stop_loss: '1.04500' };
  expect(intentOf('EUR_USD', limit, 'buy')).toMatchObject({
    units: '1000',
    price: '1.05000',
    stop_loss: '1.04500',
  });
});

test('a time is sent as UTC, and terms that were chosen are sent', () => {
  const chosen: Entry = {
    ...entry,
    type: 'LIMIT',
    price: '1.05',
    time_in_force: 'GTD',
    good_until: '2026-01-05T21:00',
    position_fill: 'OPEN_ONLY',
  };
  expect(intentOf('EUR_USD', chosen, 'buy')).toMatchObject({
    time_in_force: 'GTD',
    good_until: '2026-01-05T21:00:00Z',
    position_fill: 'OPEN_ONLY',
  });
});

test('what closes a trade takes its size and side from the trade', () => {
  const stop: Entry = { ...entry, type: 'STOP_LOSS', price: '1.01', trade_id: '42', units: '' };
  expect(faultOf(stop)).toBeNull();
  expect(intentOf('EUR_USD', stop, 'sell')).toEqual({
    instrument: 'EUR_USD',
    type: 'STOP_LOSS',
    price: '1.01',
    trade_id: '42',
  });
});

test.each<[Entry, string | null]>([
  [{ ...entry, units: '0' }, 'Units must be a number above 0.'],
  [{ ...entry, units: '-5' }, 'Units must be a number above 0.'],
  [{ ...entry, units: '1e3' }, 'Units must be a number above 0.'],
  [{ ...entry, type: 'STOP' }, 'A stop order needs a price.'],
  [{ ...entry, type: 'TRAILING_STOP_LOSS' }, 'A trailing stop needs a distance.'],
  [
    { ...entry, type: 'LIMIT', price: '1', time_in_force: 'GTD' },
    'Say until when the order is good.',
  ],
  [{ ...entry, stop_loss: 'low' }, 'The stop loss must be a number.'],
  [entry, null],
])('an entry is looked at before it is sent: %o', (given, fault) => {
  expect(faultOf(given)).toBe(fault);
});

test('where the venue hangs an order on a trade, the trade is asked for first', () => {
  const trailing: Entry = { ...entry, type: 'TRAILING_STOP_LOSS', trailing_distance: '0.005' };
  expect(faultOf(trailing, true)).toBe('Say which trade the trailing stop loss is for.');
  expect(faultOf({ ...trailing, trade_id: '42' }, true)).toBeNull();
});

test('another type of order takes along only what it has', () => {
  const limit: Entry = {
    ...entry,
    type: 'LIMIT',
    price: '1.05',
    stop_loss: '1.04',
    take_profit: '1.06',
    trailing_distance: '0.005',
    time_in_force: 'GTD',
    good_until: '2026-01-05T21:00',
    position_fill: 'OPEN_ONLY',
  };
  expect(entryAs('STOP', limit)).toEqual({
    ...limit,
    type: 'STOP',
    time_in_force: '',
    good_until: '',
  });
  const stop = { ...entry, type: 'STOP_LOSS', price: '1.05' };
  expect(entryAs('STOP_LOSS', limit)).toEqual(stop);
  expect(entryAs('TRAILING_STOP_LOSS', limit)).toEqual({
    ...stop,
    type: 'TRAILING_STOP_LOSS',
    price: '',
    trailing_distance: '0.005',
  });
  expect(entryAs('MARKET', { ...entry, type: 'STOP_LOSS', trade_id: '42' }).trade_id).toBe('');
});
