// @vitest-environment happy-dom
import { act } from 'react';
import { expect, test } from 'vitest';

import { buttonNamed, click, find, render, serve } from '../../../tests/render';
import { barAt } from '../../../tests/samples';
import { useOlderCandles } from './older';

const HELD = [barAt(8), barAt(9)];

function Bars() {
  const { all, more } = useOlderCandles('EUR_USD', 'H1', HELD);
  return (
    <>
      <p>{all.map(({ start }) => Number(start.slice(11, 13))).join()}</p>
      <button type="button" onClick={more}>
        more
      </button>
    </>
  );
}

test('older candles come before those that are held, until there are none', async () => {
  const calls = serve(() => ({
    body: {
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
  expect(calls[0]?.path).toContain('before=2017-05-01T08%3A00%3A00Z');
  // Two of 2,000: that was the oldest page.
  await act(() => click(buttonNamed(place, 'more')));
  expect(calls).toHaveLength(1);
});
