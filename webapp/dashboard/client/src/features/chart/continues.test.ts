import { expect, test } from 'vitest';

import { continues } from './continues';

type Bar = { at: string; close: number };
const bar = (at: string, close = 0): Bar => ({ at, close });
const goesOn = (drawn: Bar[], next: Bar[]) => continues(drawn, next, ({ at }) => at);

const [a, b, c, d] = [bar('a'), bar('b'), bar('c'), bar('d')];

test('a series with a new end goes on', () => {
  expect(goesOn([a, b], [a, b, c])).toBe(true);
});

test('a series whose last item changed goes on', () => {
  expect(goesOn([a, b, c], [a, b, bar('c', 1), d])).toBe(true);
});

test('a series that lost its beginning is another one', () => {
  expect(goesOn([a, b, c], [b, c, d])).toBe(false);
});

test('a series that got a missed item before its last one is another one', () => {
  expect(goesOn([a, b, d], [a, b, c, d])).toBe(false);
});

test('a series that became shorter is another one', () => {
  expect(goesOn([a, b, c], [a, b])).toBe(false);
});

test('nothing drawn is no beginning to go on from', () => {
  expect(goesOn([], [a])).toBe(false);
  expect(goesOn([a], [a, b])).toBe(false);
});
