/** The drawing: candles with marks and lines above, coin percentiles below, on one time axis. */
import {
  CandlestickSeries,
  ColorType,
  createChart,
  createSeriesMarkers,
  CrosshairMode,
  LineSeries,
  LineStyle,
  type IChartApi,
  type IPriceLine,
  type ISeriesApi,
  type ISeriesMarkersPluginApi,
  type SeriesMarker,
  type Time,
} from 'lightweight-charts';

import type { Candle, QfhPoint } from '../../shared/api/model';
import { chartTime, secondsOf } from '../../shared/chart-time';
import { colour } from '../../shared/theme';
import { CandleDrawing } from './candle-drawing';
import { changesAtEnd } from './changes-at-end';
import type { Mark } from './marks';
import { COIN_LEVEL, METRICS, type MetricName } from './metrics';

const BARS_AT_FIRST = 140;
const BARS_OF_ROOM = 6;
/** So near to the oldest bar that older ones are wanted. */
const BARS_NEAR_START = 20;
/** The metrics' share of the height: one part of this many. */
const PRICE_STRETCH = 2.6;

export type PriceLine = { price: number; title: string; colour: string; dashed: boolean };
/** The bar under the crosshair, where the crosshair is, and how wide the bars' area is. */
export type Hover = { time: number; x: number; y: number; width: number } | null;

export class PriceChart {
  readonly #chart: IChartApi;
  readonly #candles: ISeriesApi<'Candlestick'>;
  readonly #drawing: CandleDrawing;
  readonly #marks: ISeriesMarkersPluginApi<Time>;
  readonly #metrics: ReadonlyMap<MetricName, ISeriesApi<'Line'>>;
  #lines: IPriceLine[] = [];
  #drawnPoints: readonly QfhPoint[] = [];
  #decimals = 0;
  #marked: readonly Mark[] = [];
  #onNearStart: () => void = () => undefined;

  /** @param onAway  told when the newest bar leaves the view, and when it comes back. */
  constructor(
    container: HTMLElement,
    onHover: (hover: Hover) => void,
    onAway: (away: boolean) => void,
  ) {
    this.#chart = createChart(container, {
      autoSize: true,
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: { timeVisible: true, secondsVisible: false, rightOffset: BARS_OF_ROOM },
      layout: { panes: { enableResize: false } },
      localization: { locale: 'en-GB' },
    });
    this.#candles = this.#chart.addSeries(CandlestickSeries, { borderVisible: false });
    this.#drawing = new CandleDrawing(this.#candles);
    this.#marks = createSeriesMarkers(this.#candles, [], { autoScale: false });
    this.#metrics = new Map(
      METRICS.map(({ name }) => [
        name,
        this.#chart.addSeries(
          LineSeries,
          {
            lineWidth: 1,
            priceLineVisible: false,
            crosshairMarkerRadius: 3,
            priceFormat: { type: 'custom', formatter: percentText },
            autoscaleInfoProvider: () => ({ priceRange: { minValue: 0, maxValue: 100 } }),
          },
          1,
        ),
      ]),
    );
    const [price, metrics] = this.#chart.panes();
    price?.setStretchFactor(PRICE_STRETCH);
    metrics?.setStretchFactor(1);
    this.#chart.priceScale('right', 0).applyOptions({ scaleMargins: { top: 0.09, bottom: 0.09 } });
    this.#chart.priceScale('right', 1).applyOptions({ scaleMargins: { top: 0.28, bottom: 0.06 } });
    this.#metrics
      .get('coherence')
      ?.createPriceLine({ price: COIN_LEVEL, lineStyle: LineStyle.Dashed, lineWidth: 1 });
    this.#chart.subscribeCrosshairMove(({ time, point }) => {
      onHover(
        typeof time === 'number' && point !== undefined
          ? { time, x: point.x, y: point.y, width: this.#chart.timeScale().width() }
          : null,
      );
    });
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      onAway(this.#chart.timeScale().scrollPosition() < -1);
      if (range !== null && range.from < BARS_NEAR_START) this.#onNearStart();
    });
    this.paint();
  }

  destroy(): void {
    this.#chart.remove();
  }

  /** Take the colours of the theme that is in force. */
  paint(): void {
    const [up, down, grid, border] = [
      colour('--up'),
      colour('--down'),
      colour('--line', 0.55),
      colour('--line'),
    ];
    const label = colour('--text-soft');
    this.#chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: colour('--surface') },
        textColor: label,
        fontFamily: getComputedStyle(document.body).fontFamily,
        fontSize: 11,
        panes: { separatorColor: border, separatorHoverColor: border },
      },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      rightPriceScale: { borderColor: border },
      timeScale: { borderColor: border },
      crosshair: {
        vertLine: { color: label, width: 1, labelBackgroundColor: colour('--line-strong') },
        horzLine: { color: label, width: 1, labelBackgroundColor: colour('--line-strong') },
      },
    });
    this.#candles.applyOptions({
      upColor: up,
      downColor: down,
      wickUpColor: up,
      wickDownColor: down,
      priceLineColor: label,
    });
    for (const { name, colour: token } of METRICS) {
      this.#metrics.get(name)?.applyOptions({ color: colour(token) });
    }
    for (const line of this.#metrics.get('coherence')?.priceLines() ?? []) {
      line.applyOptions({ color: colour('--text-faint', 0.7), title: 'coin 95 %' });
    }
    this.setMarks(this.#marked);
  }

  setCandles(candles: readonly Candle[], decimals: number): void {
    if (decimals !== this.#decimals) {
      this.#decimals = decimals;
      this.#candles.applyOptions({
        priceFormat: { type: 'price', precision: decimals, minMove: 10 ** -decimals },
      });
    }
    const first = this.#drawing.count === 0;
    this.#drawing.setComplete(candles);
    if (first && candles.length > 0) this.goToEnd();
  }

  /** Tell `onNearStart` whenever the oldest bars come into view. */
  whenNearStart(onNearStart: () => void): void {
    this.#onNearStart = onNearStart;
  }

  setForming(bar: Candle): void {
    this.#drawing.setForming(bar);
  }

  setPoints(points: readonly QfhPoint[]): void {
    const more = changesAtEnd(this.#drawnPoints, points, ({ time }) => time);
    for (const [name, series] of this.#metrics) {
      const dot = (point: QfhPoint) => {
        const value = point.percentiles[name] ?? null;
        const time = chartTime(secondsOf(point.time));
        return value === null ? { time } : { time, value };
      };
      if (more === null) series.setData(points.map(dot));
      else for (const point of more) series.update(dot(point));
    }
    this.#drawnPoints = points;
  }

  setMarks(marks: readonly Mark[]): void {
    this.#marked = marks;
    const [up, down] = [colour('--up'), colour('--down')];
    this.#marks.setMarkers(
      marks.map(({ id, time, kind, side }): SeriesMarker<Time> => ({
        id,
        time: chartTime(time),
        color: side === 'buy' ? up : down,
        position: kind === 'fill' ? 'inBar' : side === 'buy' ? 'belowBar' : 'aboveBar',
        shape: kind === 'fill' ? 'circle' : side === 'buy' ? 'arrowUp' : 'arrowDown',
        size: kind === 'fill' ? 0.5 : 0.8,
      })),
    );
  }

  setLines(lines: readonly PriceLine[]): void {
    for (const line of this.#lines) this.#candles.removePriceLine(line);
    this.#lines = lines.map(({ price, title, colour: token, dashed }) =>
      this.#candles.createPriceLine({
        price,
        title,
        color: colour(token),
        lineWidth: 1,
        lineStyle: dashed ? LineStyle.Dashed : LineStyle.Solid,
        axisLabelVisible: true,
      }),
    );
  }

  showMetrics(shown: ReadonlySet<MetricName>): void {
    for (const [name, series] of this.#metrics) series.applyOptions({ visible: shown.has(name) });
  }

  goToEnd(): void {
    const end = this.#drawing.count + BARS_OF_ROOM;
    this.#chart.timeScale().setVisibleLogicalRange({ from: end - BARS_AT_FIRST, to: end });
  }

  /** Height of the price pane in pixels, once the chart is laid out. */
  get priceHeight(): number {
    return this.#chart.panes()[0]?.getHeight() ?? 0;
  }
}

/** No label where the pane's margin goes beyond the scale. */
function percentText(value: number): string {
  return value < 0 || value > 100 ? '' : value.toFixed(0);
}
