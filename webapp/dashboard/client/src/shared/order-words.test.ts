import { expect, test } from 'vitest';

import { orderWith } from '../../tests/samples';
import { denialText } from './order-words';

test('a refusal names its rule in words and groups its figures', () => {
  const order = orderWith({
    denied_rule: 'price_collar_pips',
    denied_reason: 'price_collar_pips: 59081.45, allowed is at most 50',
  });
  expect(denialText(order)).toBe('price collar pips: 59,081.45, allowed is at most 50');
});

test('a refusal in other words is told as it is', () => {
  const order = orderWith({ denied_rule: 'state', denied_reason: 'halted by 1234 rules' });
  expect(denialText(order)).toBe('halted by 1234 rules');
});
