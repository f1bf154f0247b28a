// @vitest-environment happy-dom
import { expect, test } from 'vitest';

import { buttonNamed, click, find, render, serve } from '../../../tests/render';
import { statusWith } from '../../../tests/samples';
import type { Feed } from '../../shared/api/model';
import { ReplayBar } from './replay-bar';

function feedWith(change: Partial<Feed>): Feed {
  const { feed } = statusWith({});
  if (feed === null) throw new Error('the sample status has a feed');
  return { ...feed, ...change };
}

const controls = () => serve(() => ({ body: {} }));
const sent = (calls: ReturnType<typeof controls>) =>
  calls.filter(({ method }) => method === 'POST').map(({ body }) => body);

test('it pauses, plays and changes speed', async () => {
  const calls = controls();
  const place = await render(<ReplayBar feed={feedWith({})} />);
  await click(buttonNamed(place, 'Pause'));
  await click(buttonNamed(place, '10×'));
  expect(sent(calls)).toEqual([{ paused: true }, { bars_per_second: 10 }]);
});

test('it says where it is', async () => {
  controls();
  const place = await render(<ReplayBar feed={feedWith({ cursor: 2143 })} />);
  expect(place.textContent).toContain('bar 2,143 of 6,225');
  // 143 of the 4,225 bars that are not history have passed.
  expect(find(place, 'progress').getAttribute('value')).toBe('143');
  expect(find(place, 'progress').getAttribute('max')).toBe('4225');
});

test('at the end it says so and offers to begin again', async () => {
  const calls = controls();
  const place = await render(<ReplayBar feed={feedWith({ at_end: true, cursor: 6225 })} />);
  expect(find(place, '[role="status"]').textContent).toContain('End of the sample.');
  await click(buttonNamed(place, 'Restart'));
  expect(sent(calls)).toEqual([{ restart: true }]);
});
