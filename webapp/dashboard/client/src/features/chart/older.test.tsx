// @vitest-environment happy-dom
import { QueryClient } from '@tanstack/react-query';
import { expect, test, vi } from 'vitest';

import { buttonNamed, click, find, render, serve, type Call } from '../../../tests/render';
import { barAt } from '../../../tests/samples';
import type { Candle } from '../../shared/api/model';
import { useOlderBars } from './older';

const pointAt = (hour: number) => ({ time: barAt(hour).start, metrics: {}, percentiles: {} });
const HELD = [barAt(8), barAt(9)];
const HELD_POINTS = [pointAt(8), pointAt(9)];

const hours = (times: string[]) => times.map((time) => Number(time.slice(11, 13))).join();

function Bars({ held }: { held: Candle[] }) {
  const older = useOlderBars('EUR_USD', 'H1', held, HELD_POINTS);
  const { candles, points, more, retry, isReading, error } = older;
  return (
    <>
      <i>{isReading ? 'reading' : ''}</i>
      <p>{hours(candles.map(({ start }) => start))}</p>
      <output>{hours(points.map(({ time }) => time))}</output>
      <em>{error?.message}</em>
      <button type="button" onClick={more}>
        more
      </button>
      <button type="button" onClick={retry}>
        retry
      </button>
    </>
  );
}

/** The page before the bars that are held. */
const older = ({ path }: Call) => ({
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
});

test('older bars come before those that are held, with their metrics, until none are', async () => {
  const calls = serve(older);
  const client = new QueryClient();
  const place = await render(<Bars held={HELD} />, client);
  expect(calls).toHaveLength(0);
  expect(find(place, 'p').textContent).toBe('8,9');
  await click(buttonNamed(place, 'more'));
  expect(find(place, 'p').textContent).toBe('6,7,8,9');
  expect(find(place, 'output').textContent).toBe('7,8,9');
  const query = 'EUR_USD?granularity=H1&limit=2000&before=2017-05-01T08%3A00%3A00Z';
  expect(calls.map(({ path }) => path)).toEqual([`/api/candles/${query}`, `/api/qfh/${query}`]);
  // Two of 2,000: that was the oldest page, and nothing is said to be read again.
  const changes = vi.fn();
  client.getQueryCache().subscribe(changes);
  await click(buttonNamed(place, 'more'));
  expect(changes).not.toHaveBeenCalled();
  expect(calls).toHaveLength(2);
});

test('a page is asked for once, however often the chart says that its start is near', async () => {
  // A page that is full, so that there is another before it.
  const full = Array.from({ length: 2_000 }, () => barAt(6));
  const calls = serve((call) => {
    const { body } = older(call);
    return { body: 'candles' in body ? { ...body, candles: full } : body };
  });
  const place = await render(<Bars held={HELD} />);
  await click(buttonNamed(place, 'more'));
  expect(calls).toHaveLength(2);
  const unanswered = vi.fn(() => new Promise(() => undefined));
  vi.stubGlobal('fetch', unanswered);
  await click(buttonNamed(place, 'more'));
  expect(find(place, 'i').textContent).toBe('reading');
  await click(buttonNamed(place, 'more'));
  // The candles and the metrics.
  expect(unanswered).toHaveBeenCalledTimes(2);
});

test('after a failure the page says so, and reads again only when a person asks', async () => {
  let down = true;
  const calls = serve((call) =>
    down ? { status: 503, body: { code: 'unavailable', message: 'Busy.' } } : older(call),
  );
  const place = await render(<Bars held={HELD} />);
  await click(buttonNamed(place, 'more'));
  expect(find(place, 'em').textContent).toBe('Busy.');
  const failed = calls.length;
  await click(buttonNamed(place, 'more'));
  expect(calls).toHaveLength(failed);
  down = false;
  await click(buttonNamed(place, 'retry'));
  expect(find(place, 'em').textContent).toBe('');
  expect(find(place, 'p').textContent).toBe('6,7,8,9');
});

test('where no bar is held there is none to look before', async () => {
  const calls = serve(older);
  const place = await render(<Bars held={[]} />);
  await click(buttonNamed(place, 'more'));
  expect(calls).toHaveLength(0);
});
