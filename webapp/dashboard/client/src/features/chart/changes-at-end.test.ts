import { expect, test } from 'vitest';

import { changesAtEnd } from './changes-at-end';

type Bar = { at: string; close: number };
const bar = (at: string, close = 0): Bar => ({ at, close });
const changes = (drawn: Bar[], next: Bar[]) => changesAtEnd(drawn, next, ({ at }) => at);

const [a, b, c, d] = [bar('a'), bar('b'), bar('c'), bar('d')];

test('what follows the last item is drawn', () => {
  expect(changes([a, b], [a, b, c, d])).toEqual([c, d]);
});

test('a last item that changed is drawn again', () => {
  const changed = bar('c', 1);
  expect(changes([a, b, c], [a, b, changed, d])).toEqual([changed, d]);
});

test('nothing is drawn for a series that did not change', () => {
  expect(changes([a, b], [a, b])).toEqual([]);
});

test('all is drawn for a series that lost its beginning', () => {
  expect(changes([a, b, c], [b, c, d])).toBeNull();
});

test('all is drawn for a series that got a missed item before its last one', () => {
  expect(changes([a, b, d], [a, b, c, d])).toBeNull();
});

test('all is drawn for a series that became shorter, and for the first one', () => {
  expect(changes([a, b, c], [a, b])).toBeNull();
  expect(changes([], [a])).toBeNull();
  expect(changes([a], [a, b])).toBeNull();
});
