// @vitest-environment happy-dom
import { act } from 'react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { render } from '../../tests/render';
import { Told, toldIn } from '../../tests/told';
import { notify, type Notice } from './notices';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
});

afterEach(() => {
  vi.useRealTimers();
});

/** The page, once it was told all of that. */
async function toldAll(...notices: [Notice['level'], string][]): Promise<HTMLElement> {
  const drawn = render(<Told />);
  await vi.runAllTimersAsync();
  act(() => {
    for (const [level, text] of notices) notify(level, text);
  });
  return drawn;
}

function wait(wait_ms: number): void {
  act(() => {
    vi.advanceTimersByTime(wait_ms);
  });
}

test('news leave after ten seconds, an error stays until it is dismissed', async () => {
  const place = await toldAll(['info', 'it was closed'], ['error', 'it could not be closed']);
  wait(9_999);
  expect(toldIn(place)).toEqual(['info: it was closed', 'error: it could not be closed']);
  wait(3_600_000);
  expect(toldIn(place)).toEqual(['error: it could not be closed']);
});

test('of more than four the oldest news go before any error', async () => {
  const news = ['b', 'c', 'd', 'e'].map((text): [Notice['level'], string] => ['info', text]);
  const place = await toldAll(['error', 'a'], ...news);
  expect(toldIn(place)).toEqual(['error: a', 'info: c', 'info: d', 'info: e']);
});

test('of more than four errors the oldest goes', async () => {
  const texts = ['a', 'b', 'c', 'd', 'e'];
  const place = await toldAll(...texts.map((text): [Notice['level'], string] => ['error', text]));
  expect(toldIn(place)).toEqual(['error: b', 'error: c', 'error: d', 'error: e']);
});

test('what is told again is shown once', async () => {
  const place = await toldAll(['error', 'a'], ['error', 'b'], ['error', 'a']);
  expect(toldIn(place)).toEqual(['error: a', 'error: b']);
});
