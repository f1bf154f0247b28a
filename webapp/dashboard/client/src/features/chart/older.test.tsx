// @vitest-environment happy-dom
import { act } from 'react';
import { expect, test } from 'vitest';

import { buttonNamed, click, find, render, serve } from '../../../tests/render';
import { barAt } from '../../../tests/samples';
import { useOlderBars } from './older';

const pointAt = (hour: number) => ({ time: barAt(hour).start, metrics: {}, percentiles: {} });
const HELD = [barAt(8), barAt(9)];
const HELD_POINTS = [pointAt(8), pointAt(9)];

const hours = (times: string[]) => times.map((time) => Number(time.slice(11, 13))).join();

function Bars() {
  const { candles, points, more } = useOlderBars('EUR_USD', 'H1', HELD, HELD_POINTS);
  return (
    <>
      <p>{hours(candles.map(({ start }) => start))}</p>
      <output>{hours(points.map(({ time }) => time))}</output>
      <button type="button" onClick={more}>
        more
      </button>
    </>
  );
}

test('older candles and their metrics come before those that are held, until there are none', async () => {
  const calls = serve(({ path }) => ({
    body: path.startsWith('/api/qfh/')
      ? {
          instrument: 'EUR_USD',
          window: 64,
          encoding: 'moves',
          engine: '0.1.0',
          as_of: null,
          points: [pointAt(7)],
        }
      : {
          instrument: 'EUR_USD',
          granularity: 'H1',
          price_side: 'ask',
          source: 'eur_usd_h1',
          candles: [barAt(6), barAt(7)],
          feed_cursor: null,
        },
  }));
  const place = await render(<Bars />);
  expect(calls).toHaveLength(0);
  expect(find(place, 'p').textContent).toBe('8,9');
  await click(buttonNamed(place, 'more'));
  expect(find(place, 'p').textContent).toBe('6,7,8,9');
  expect(find(place, 'output').textContent).toBe('7,8,9');
  const query = 'EUR_USD?granularity=H1&limit=2000&before=2017-05-01T08%3A00%3A00Z';
  expect(calls.map(({ path }) => path)).toEqual([`/api/candles/${query}`, `/api/qfh/${query}`]);
  // Two of 2,000: that was the oldest page.
  await act(() => click(buttonNamed(place, 'more')));
  expect(calls).toHaveLength(2);
});
