import type { CandlestickData } from 'lightweight-charts';

import type { Candle } from '../../shared/api/model';
import { chartTime, secondsOf } from '../../shared/chart-time';
import { changesAtEnd } from './changes-at-end';

type Bar = CandlestickData;
type Series = { setData(bars: Bar[]): void; update(bar: Bar): void };

/** Keeps a series of the chart library, which takes new bars at its end only, equal to the bars. */
export class CandleDrawing {
  readonly #series: Series;
  #drawn: readonly Candle[] = [];
  #forming: Candle | null = null;
  /** Start of the newest bar that is drawn, complete or forming. */
  #newest_s = 0;

  constructor(series: Series) {
    this.#series = series;
  }

  get count(): number {
    return this.#drawn.length;
  }

  /** Draw the complete bars; when only the end is new, only the end is drawn. */
  setComplete(candles: readonly Candle[]): void {
    const changed = changesAtEnd(this.#drawn, candles, ({ start }) => start);
    const newest_s = this.#newest_s;
    // Where the series went back, the forming bar belongs to what was left.
    if (startOfLast(candles) < startOfLast(this.#drawn)) this.#forming = null;
    this.#drawn = candles;
    if (changed?.every(({ start }) => secondsOf(start) >= newest_s) === true) {
      for (const bar of changed) this.#drawLast(bar);
      return;
    }
    this.#series.setData(candles.map(barOf));
    this.#newest_s = startOfLast(candles);
    if (this.#forming !== null) this.setForming(this.#forming);
  }

  /** Draw a bar that is not complete yet, unless that one is drawn complete, or a newer one. */
  setForming(bar: Candle): void {
    this.#forming = bar;
    const start_s = secondsOf(bar.start);
    const isComplete = start_s <= startOfLast(this.#drawn);
    if (!isComplete && start_s >= this.#newest_s) this.#drawLast(bar);
  }

  #drawLast(bar: Candle): void {
    this.#newest_s = secondsOf(bar.start);
    this.#series.update(barOf(bar));
  }
}

function startOfLast(candles: readonly Candle[]): number {
  const last = candles.at(-1);
  return last === undefined ? 0 : secondsOf(last.start);
}

/** The library draws binary numbers: here, and only here, prices become some. */
function barOf({ start, open, high, low, close }: Candle): Bar {
  return {
    time: chartTime(secondsOf(start)),
    open: Number(open),
    high: Number(high),
    low: Number(low),
    close: Number(close),
  };
}
