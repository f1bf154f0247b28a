import { expect, test } from 'vitest';

import { orderWith } from '../../../tests/samples';
import { changeOf } from './change-form';

const order = orderWith({
  type: 'LIMIT',
  time_in_force: 'GTC',
  units: '-1000',
  price: '1.05000',
  stop_loss: '1.06000',
});
const names = ['price', 'stop_loss', 'take_profit', 'trailing_distance'] as const;
const same = { price: '1.05000', stop_loss: '1.06000', take_profit: '', trailing_distance: '' };
const always = { force: 'GTC', until: '' } as const;

test('only what differs is sent, and units keep their side', () => {
  expect(changeOf(order, names, '1000', same, always)).toEqual({});
  expect(changeOf(order, names, '500', { ...same, price: '1.04000' }, always)).toEqual({
    units: '-500',
    price: '1.04000',
  });
});

test('a stop that was emptied is taken away', () => {
  const emptied = { ...same, stop_loss: '', take_profit: '1.01' };
  expect(changeOf(order, names, '1000', emptied, always)).toEqual({
    stop_loss: null,
    take_profit: '1.01',
  });
});

test('another time in force is sent, with its end where it has one', () => {
  const until = { force: 'GTD', until: '2017-05-02T08:00' } as const;
  expect(changeOf(order, names, '1000', same, until)).toEqual({
    time_in_force: 'GTD',
    good_until: '2017-05-02T08:00:00Z',
  });
  const ends = orderWith({ ...order, time_in_force: 'GTD', good_until: '2017-05-02T08:00:00Z' });
  expect(changeOf(ends, names, '1000', same, until)).toEqual({});
  expect(changeOf(ends, names, '1000', same, { ...until, until: '2017-05-03T08:00' })).toEqual({
    good_until: '2017-05-03T08:00:00Z',
  });
  expect(changeOf(ends, names, '1000', same, always)).toEqual({ time_in_force: 'GTC' });
});
