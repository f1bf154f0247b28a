import { expect, test } from 'vitest';

import { decimalText } from './api/model';
import {
  ageText,
  changeText,
  figuresText,
  marketTimeShort,
  marketTimeText,
  moneyText,
  priceText,
  sideText,
  signOf,
  sizeText,
  wallTimeText,
} from './format';

const decimal = (text: string) => decimalText.parse(text);

test('a price keeps its decimals and is not grouped', () => {
  expect(priceText(decimal('1.0842500000'), 5)).toBe('1.08425');
  expect(priceText(decimal('1234.5'), 3)).toBe('1234.500');
});

test('an amount that no binary number holds is rounded as the text says', () => {
  // As a binary number 1.005 is a little less and would round to 1.00.
  expect(moneyText(decimal('1.005'))).toBe('1.01');
  expect(moneyText(decimal('90071992547409.93'))).toBe('90,071,992,547,409.93');
});

test('a change shows its sign, and zero has none', () => {
  expect(changeText(decimal('3.1'))).toBe('+3.10');
  expect(changeText(decimal('-0.005'))).toBe('-0.01');
  expect(changeText(decimal('0.0000000000'))).toBe('0.00');
});

test('a missing number is shown as missing', () => {
  expect(moneyText(null)).toBe('–');
  expect(priceText(null, 5)).toBe('–');
  expect(marketTimeText(null)).toBe('–');
});

test('units lose their trailing zeros', () => {
  expect(sizeText(decimal('-1000.0000000000'))).toBe('1,000');
});

test('the sign is read from the text', () => {
  expect([decimal('-0.00'), decimal('0E-10'), decimal('-1.5'), decimal('2')].map(signOf)).toEqual([
    0, 0, -1, 1,
  ]);
  expect(sideText(decimal('-1'))).toBe('Sell');
});

test('text that is not a decimal is refused at the door', () => {
  for (const text of ['NaN', '1,000', '', '1.', 'Infinity']) {
    expect(decimalText.safeParse(text).success).toBe(false);
  }
});

test('an age has one unit', () => {
  expect([0.4, 59.9, 60, 3599, 7200, 200_000].map(ageText)).toEqual([
    'now',
    '59 s',
    '1 min',
    '59 min',
    '2 h',
    '2 d',
  ]);
});

test('market time is UTC wherever the browser is', () => {
  expect(marketTimeText('2017-06-13T09:00:00Z')).toBe('13 Jun 2017, 09:00 UTC');
  expect(marketTimeShort('2017-06-13T09:00:00Z')).toBe('13 Jun, 09:00');
  expect(wallTimeText('2026-06-13T21:04:07Z')).toBe('13 Jun, 21:04:07 UTC');
});

test('figures within words get their commas; names, dates and hashes stay', () => {
  expect(figuresText('90000000, allowed is at most 10000')).toBe(
    '90,000,000, allowed is at most 10,000',
  );
  expect(figuresText('-59081.45')).toBe('-59,081.45');
  expect(figuresText('999 of EUR_USD at 1.09248, 2017-05-01T10:00:00Z, a1234')).toBe(
    '999 of EUR_USD at 1.09248, 2017-05-01T10:00:00Z, a1234',
  );
});
