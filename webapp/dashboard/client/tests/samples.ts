/** Answers of the API for tests: one well-formed value of each kind, with what a test changes. */
import * as model from '../src/shared/api/model';

export function orderWith(change: Record<string, unknown>): model.Order {
  return model.order.parse({
    id: 1,
    client_id: 'a',
    instrument: 'EUR_USD',
    origin: 'RULE',
    type: 'MARKET',
    units: '1000',
    price: null,
    stop_loss: null,
    take_profit: null,
    stop_distance: null,
    target_distance: null,
    trailing_distance: null,
    time_in_force: 'FOK',
    good_until: null,
    position_fill: 'DEFAULT',
    trade_id: '',
    replaces_id: null,
    state: 'QUEUED',
    cause: '',
    filled_units: '0',
    average_price: null,
    denied_rule: '',
    denied_reason: '',
    reduce_only: false,
    parent_id: null,
    signal_id: null,
    venue_order_id: '',
    market_time: '2017-05-01T08:00:00Z',
    created_at: '2026-01-01T00:00:00Z',
    updated_at: '2026-01-01T00:00:00Z',
    fills: [],
    ...change,
  });
}

export function fillWith(change: Record<string, unknown>): model.Fill {
  return model.fill.parse({
    id: 1,
    units: '1000',
    opened_units: '1000',
    price: '1.05123',
    realised_pl: '0.00',
    assumed_spread: true,
    time: '2017-05-01T08:00:00Z',
    ...change,
  });
}

export function brokerWith(change: Record<string, unknown>): model.Broker {
  return model.broker.parse({
    kind: 'oanda-local',
    types: [
      { type: 'MARKET', times_in_force: ['FOK', 'IOC'], needs_trade: false },
      { type: 'TRAILING_STOP_LOSS', times_in_force: ['GTC'], needs_trade: true },
    ],
    position_fills: ['DEFAULT', 'REDUCE_ONLY'],
    on_fill: ['STOP_LOSS'],
    trades: true,
    replaces: true,
    ...change,
  });
}

export function tradeWith(change: Record<string, unknown>): model.Trade {
  return model.trade.parse({
    id: '7',
    instrument: 'EUR_USD',
    opened_units: '1000',
    units: '600',
    price: '1.05000',
    realised_pl: '0.00',
    order_id: 3,
    opened_at: '2017-05-01T08:00:00Z',
    ...change,
  });
}

export function signalWith(change: Record<string, unknown>): model.Signal {
  return model.signal.parse({
    id: 7,
    time: '2017-05-01T08:00:00Z',
    created_at: '2026-01-01T00:00:00Z',
    instrument: 'EUR_USD',
    strategy: { id: 1, name: 's' },
    direction: 'SELL',
    price: '1.05',
    metrics: {},
    percentiles: {},
    reason: '',
    order_id: null,
    verdict: 'unproven',
    ...change,
  });
}

export function positionWith(change: Record<string, unknown>): model.Position {
  return model.position.parse({
    instrument: 'EUR_USD',
    side: 'NET',
    units: '1000',
    average_price: '1.05000',
    mark: '1.05100',
    open_pl: '1.00',
    realised_pl: '0.00',
    stop_loss: '1.04700',
    trailing_distance: null,
    age_s: 0.2,
    currency: 'USD',
    ...change,
  });
}

export function performanceWith(change: Record<string, unknown>): model.Performance {
  return model.performance.parse({
    account: 'Paper',
    currency: 'USD',
    balance: '100000.00',
    equity: '100001.00',
    realised_pl: '0.00',
    open_pl: '1.00',
    day_pl: '1.00',
    trades: 0,
    wins: 0,
    win_rate: null,
    max_drawdown: '0.00',
    drawdown: '0.00',
    sharpe: null,
    as_of: '2026-01-01T00:00:00Z',
    market_time: '2017-05-01T08:00:00Z',
    assumed_spread: true,
    ...change,
  });
}

export function statusWith(change: Record<string, unknown>): model.Status {
  return model.status.parse({
    trading: { state: 'ACTIVE', reason: '' },
    feed: {
      instrument: 'EUR_USD',
      source: 'eur_usd_h1',
      name: 'replay',
      granularity: 'H1',
      history_bars: 2000,
      restart_requested: false,
      cursor: 2002,
      total: 6225,
      bars_per_second: 1,
      paused: false,
      at_end: false,
    },
    account: { id: 1, name: 'Paper', kind: 'paper', currency: 'USD' },
    strategy: null,
    assumed_spread: null,
    engine: { version: '0.1.0', backends: ['scalar'] },
    ...change,
  });
}

/** The complete bar that starts at this hour of 1 May 2017. */
export function barAt(hour: number): model.Candle {
  const start = `2017-05-01T${String(hour).padStart(2, '0')}:00:00Z`;
  return model.candle.parse({
    start,
    open: '1.05000',
    high: '1.05200',
    low: '1.04900',
    close: '1.05100',
    complete: true,
  });
}

/** What the market stream says when that bar is complete, with the replay at `cursor`. */
export function marketAt(hour: number, cursor: number): model.MarketUpdate {
  const bar = barAt(hour);
  return model.marketUpdate.parse({
    instrument: 'EUR_USD',
    granularity: 'H1',
    quote: {
      time: bar.start,
      bid: '1.05087',
      ask: '1.05100',
      mid: '1.050935',
      assumed_spread: true,
    },
    bar,
    qfh: {
      metrics: { coherence: 0.1 },
      percentiles: { coherence: 88 },
      window: 64,
      encoding: 'moves',
      engine: '0.1.0',
      as_of: bar.start,
    },
    feed: { cursor, total: 6225, bars_per_second: 1, paused: false, at_end: false },
  });
}
