import type { CandlestickData } from 'lightweight-charts';
import { beforeEach, expect, test } from 'vitest';

import { barAt } from '../../../tests/samples';
import { decimalText, type Candle } from '../../shared/api/model';
import { CandleDrawing } from './candle-drawing';

/** A series that refuses what the library refuses: a bar before the newest one. */
class FakeSeries {
  bars: CandlestickData[] = [];
  wholes = 0;

  setData(bars: CandlestickData[]): void {
    this.wholes += 1;
    this.bars = [...bars];
  }
  update(bar: CandlestickData): void {
    const last = this.bars.at(-1);
    if (last !== undefined && last.time > bar.time) throw new Error('Cannot update oldest data');
    if (last?.time === bar.time) this.bars.pop();
    this.bars.push(bar);
  }
}

const forming = (hour: number): Candle => ({
  ...barAt(hour),
  close: decimalText.parse('1.05001'),
  complete: false,
});

let series: FakeSeries;
let drawing: CandleDrawing;
const drawn = () =>
  series.bars.map(({ time, close }) => [new Date(Number(time) * 1000).getUTCHours(), close]);

const history = [6, 7].map(barAt);
const eight = barAt(8);
const nine = barAt(9);

beforeEach(() => {
  series = new FakeSeries();
  drawing = new CandleDrawing(series);
  drawing.setComplete(history);
});

test('a bar forms and is completed, and only the end is drawn', () => {
  drawing.setForming(forming(8));
  drawing.setComplete([...history, eight]);
  expect(drawn()).toEqual([[6, 1.051], [7, 1.051], [8, 1.051]]);
  expect(series.wholes).toBe(1);
});

test('a bar that is completed after the next one began to form is drawn complete', () => {
  drawing.setForming(forming(8));
  drawing.setForming(forming(9));
  drawing.setComplete([...history, eight]);
  expect(drawn()).toEqual([[6, 1.051], [7, 1.051], [8, 1.051], [9, 1.05001]]);
});

test('a complete bar does not become a forming one again', () => {
  drawing.setComplete([...history, eight]);
  drawing.setForming(forming(8));
  expect(drawn().at(-1)).toEqual([8, 1.051]);
});

test('bars that were missed are drawn when they come', () => {
  drawing.setComplete([...history, nine]);
  drawing.setComplete([...history, eight, nine]);
  expect(drawn().map(([hour]) => hour)).toEqual([6, 7, 8, 9]);
});

test('a replay that began again is drawn from its history on', () => {
  drawing.setComplete([...history, eight, nine]);
  drawing.setForming(forming(10));
  drawing.setComplete(history);
  drawing.setForming(forming(8));
  expect(drawn().map(([hour]) => hour)).toEqual([6, 7, 8]);
});
