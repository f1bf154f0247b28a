import { expect, test } from 'vitest';

import { orderWith } from '../../../tests/samples';
import { changeOf } from './change-form';

const order = orderWith({ type: 'LIMIT', units: '-1000', price: '1.05000', stop_loss: '1.06000' });
const names = ['price', 'stop_loss', 'take_profit', 'trailing_distance'] as const;
const same = { price: '1.05000', stop_loss: '1.06000', take_profit: '', trailing_distance: '' };

test('only what differs is sent, and units keep their side', () => {
  expect(changeOf(order, names, '1000', same)).toEqual({});
  expect(changeOf(order, names, '500', { ...same, price: '1.04000' })).toEqual({
    units: '-500',
    price: '1.04000',
  });
});

test('a stop that was emptied is taken away', () => {
  expect(changeOf(order, names, '1000', { ...same, stop_loss: '', take_profit: '1.01' })).toEqual({
    stop_loss: null,
    take_profit: '1.01',
  });
});
