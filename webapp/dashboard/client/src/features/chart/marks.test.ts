import { expect, test } from 'vitest';

import { fillWith, orderWith, signalWith } from '../../../tests/samples';
import { candle, type Candle } from '../../shared/api/model';
import { barAt, eventsByBar, marksOf } from './marks';

const HOUR_S = 3600;

const bar = (start: string): Candle =>
  candle.parse({ start, open: '1.05', high: '1.06', low: '1.04', close: '1.05', complete: true });

// Friday's last two hours and Monday's first: the weekend lies between the second and the third.
const bars = ['2017-01-06T20:00:00Z', '2017-01-06T21:00:00Z', '2017-01-08T22:00:00Z'].map(bar);
const [friday20, friday21, sunday22] = bars.map(({ start }) => Date.parse(start) / 1000);

const signalAt = (time: string) => signalWith({ time });

const orderFilledAt = (...times: string[]) =>
  orderWith({ fills: times.map((time, index) => fillWith({ id: index + 1, time })) });

test('a signal stands on the bar that ended when it was decided', () => {
  const events = eventsByBar(bars, HOUR_S, [signalAt('2017-01-06T21:00:00Z')], []);
  expect([...events.keys()]).toEqual([friday20]);
});

test('a fill stands on the bar that its quote opened', () => {
  const events = eventsByBar(bars, HOUR_S, [], [orderFilledAt('2017-01-08T22:00:00Z')]);
  expect([...events.keys()]).toEqual([sunday22]);
});

test('what lies outside the bars is left out', () => {
  const orders = [orderFilledAt('2017-01-06T19:59:59Z', '2017-01-09T01:00:00Z')];
  expect(eventsByBar(bars, HOUR_S, [signalAt('2017-01-06T20:00:00Z')], orders).size).toBe(0);
});

test('marks come in the order of time and carry the side', () => {
  const events = eventsByBar(
    bars,
    HOUR_S,
    [signalAt('2017-01-06T22:00:00Z')],
    [orderFilledAt('2017-01-06T20:30:00Z')],
  );
  expect(marksOf(events)).toEqual([
    { id: 'fill-1', time: friday20, kind: 'fill', side: 'buy' },
    { id: 'signal-7', time: friday21, kind: 'signal', side: 'sell' },
  ]);
});

test('the bar of a time is found by halving', () => {
  const starts = [10, 20, 30];
  expect([5, 10, 15, 30, 99].map((time) => barAt(starts, time, true))).toEqual([-1, 0, 0, 2, 2]);
  expect([10, 20, 31].map((time) => barAt(starts, time, false))).toEqual([-1, 0, 2]);
});
