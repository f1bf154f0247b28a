// @vitest-environment happy-dom
import { expect, test } from 'vitest';

import { buttonNamed, click, render } from '../../../tests/render';
import { ApiError } from './http';
import { useAskOnce } from './use-ask-once';

function asker(answer: (wish: { units: string }, key: string) => Promise<string>) {
  return function Asker() {
    const { mutate } = useAskOnce(answer);
    return ['400', '500'].map((units) => (
      <button
        key={units}
        type="button"
        onClick={() => {
          mutate({ units });
        }}
      >
        {units}
      </button>
    ));
  };
}

/** Press the buttons one after another; return the key that each press sent. */
async function keysOf(names: string[], answers: (Error | null)[]): Promise<(string | undefined)[]> {
  const keys: string[] = [];
  const left = [...answers];
  const Asker = asker((_wish, key) => {
    keys.push(key);
    const failure = left.shift() ?? null;
    return failure === null ? Promise.resolve('done') : Promise.reject(failure);
  });
  const place = await render(<Asker />);
  for (const name of names) await click(buttonNamed(place, name));
  return keys;
}

const LOST = new ApiError(0, 'unreachable', 'lost');
const TROUBLE = new ApiError(502, 'error', 'The server answered 502.');
const REFUSED = new ApiError(400, 'invalid', 'no');

test.each([LOST, TROUBLE])('a wish that may have been heard keeps its key: %s', async (failure) => {
  const [first, second, third] = await keysOf(['400', '400', '400'], [failure, null, null]);
  expect(first).toMatch(/^[0-9a-f]{32}$/);
  expect(second).toBe(first);
  expect(third).not.toBe(first);
});

test('another wish has another key, also when the first one was lost', async () => {
  const [first, second] = await keysOf(['400', '500'], [LOST, LOST]);
  expect(second).not.toBe(first);
});

test('a wish that was refused is another one when it is asked again', async () => {
  const [first, second] = await keysOf(['400', '400'], [REFUSED, null]);
  expect(second).not.toBe(first);
});
