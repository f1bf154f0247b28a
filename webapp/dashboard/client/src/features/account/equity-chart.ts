/** The equity line: above the first figure in one colour, below it in the other. */
import {
  BaselineSeries,
  ColorType,
  createChart,
  LineStyle,
  type IChartApi,
  type ISeriesApi,
} from 'lightweight-charts';

import type { EquityPoint } from '../../shared/api/model';
import { chartTime, secondsOf } from '../../shared/chart-time';
import { colour } from '../../shared/theme';
import { thisPass } from './equity-points';

const axis = new Intl.NumberFormat('en-GB', { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export class EquityChart {
  readonly #chart: IChartApi;
  readonly #line: ISeriesApi<'Baseline'>;
  readonly #sizes: ResizeObserver;

  constructor(container: HTMLElement) {
    this.#chart = createChart(container, {
      autoSize: true,
      handleScroll: false,
      handleScale: false,
      localization: { locale: 'en-GB', priceFormatter: (money: number) => axis.format(money) },
      // The big chart on the same page carries the attribution.
      layout: { attributionLogo: false },
      timeScale: { visible: false, minBarSpacing: 0.001 },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.1, bottom: 0.08 } },
      crosshair: { horzLine: { visible: false, labelVisible: false } },
    });
    this.#line = this.#chart.addSeries(BaselineSeries, {
      lineWidth: 2,
      priceLineVisible: false,
      lastValueVisible: false,
      priceFormat: { type: 'price', precision: 2, minMove: 0.01 },
    });
    // The line is laid out while its view is hidden, too, and gets its width later.
    this.#sizes = new ResizeObserver(() => {
      requestAnimationFrame(() => {
        if (container.isConnected) this.#chart.timeScale().fitContent();
      });
    });
    this.#sizes.observe(container);
    this.paint();
  }

  destroy(): void {
    this.#sizes.disconnect();
    this.#chart.remove();
  }

  paint(): void {
    this.#chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: colour('--surface') },
        textColor: colour('--text-faint'),
        fontFamily: getComputedStyle(document.body).fontFamily,
        fontSize: 10,
      },
      grid: {
        vertLines: { visible: false },
        horzLines: { color: colour('--line', 0.6), style: LineStyle.Dotted },
      },
      crosshair: {
        vertLine: { color: colour('--text-faint'), labelBackgroundColor: colour('--line-strong') },
      },
    });
    this.#line.applyOptions({
      topLineColor: colour('--up'),
      topFillColor1: colour('--up', 0.22),
      topFillColor2: colour('--up', 0.02),
      bottomLineColor: colour('--down'),
      bottomFillColor1: colour('--down', 0.02),
      bottomFillColor2: colour('--down', 0.22),
    });
  }

  setPoints(points: readonly EquityPoint[]): void {
    const dots = thisPass(points).map(({ time, equity }) => ({
      time: chartTime(secondsOf(time)),
      value: Number(equity),
    }));
    this.#line.applyOptions({ baseValue: { type: 'price', price: dots[0]?.value ?? 0 } });
    this.#line.setData(dots);
    this.#chart.timeScale().fitContent();
  }
}
