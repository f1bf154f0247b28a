/** What the API answers with, as schemas. Types come from them; unknown fields are dropped. */
import { z } from 'zod';

/** Decimal text exactly as the API sent it, e.g. "1.08425". No arithmetic on it in the browser. */
export const decimalText = z
  .string()
  .regex(/^-?\d+(\.\d+)?(E[+-]?\d+)?$/i)
  .brand('DecimalText');
export type DecimalText = z.infer<typeof decimalText>;

/** ISO 8601 with a zone, as sent. */
const instant = z.iso.datetime({ offset: true });
const figure = z.number().nullable();
const figures = z.record(z.string(), figure);

export const candle = z.object({
  start: instant,
  open: decimalText,
  high: decimalText,
  low: decimalText,
  close: decimalText,
  complete: z.boolean(),
});
export type Candle = z.infer<typeof candle>;

export const quote = z.object({
  time: instant,
  bid: decimalText,
  ask: decimalText,
  mid: decimalText,
  assumed_spread: z.boolean(),
});

const qfhReading = z.object({
  metrics: figures,
  percentiles: figures,
  window: z.number(),
  encoding: z.string(),
  engine: z.string(),
  as_of: instant,
});

const feedPosition = z.object({
  cursor: z.number(),
  total: z.number(),
  bars_per_second: z.number(),
  paused: z.boolean(),
  at_end: z.boolean(),
});

export const feed = feedPosition.extend({
  instrument: z.string(),
  source: z.string(),
  name: z.string(),
  granularity: z.string(),
  history_bars: z.number(),
  restart_requested: z.boolean(),
});
export type Feed = z.infer<typeof feed>;

export const marketUpdate = z.object({
  instrument: z.string(),
  granularity: z.string(),
  quote: quote.nullable(),
  bar: candle.nullable(),
  qfh: qfhReading.nullable(),
  feed: feedPosition,
});
export type MarketUpdate = z.infer<typeof marketUpdate>;

export const marketData = z.object({
  instruments: z.array(
    z.object({
      instrument: z.string(),
      quote: quote.nullable(),
      bar: candle.nullable(),
      qfh: qfhReading.nullable(),
      age_s: z.number().nullable(),
    }),
  ),
});

export const candles = z.object({
  instrument: z.string(),
  granularity: z.string(),
  price_side: z.string().nullable(),
  source: z.string().nullable(),
  candles: z.array(candle),
  feed_cursor: z.number().nullable(),
});
export type Candles = z.infer<typeof candles>;

/** `time` is the start of the bar whose close is the newest price in it. */
const qfhPoint = z.object({ time: instant, metrics: figures, percentiles: figures });
export type QfhPoint = z.infer<typeof qfhPoint>;

export const qfh = z.object({
  instrument: z.string(),
  window: z.number(),
  encoding: z.string(),
  engine: z.string(),
  as_of: instant.nullable(),
  points: z.array(qfhPoint),
});
export type Qfh = z.infer<typeof qfh>;

export const tradingStateName = z.enum(['ACTIVE', 'REDUCING', 'HALTED']);
export type TradingStateName = z.infer<typeof tradingStateName>;

const range = z.tuple([z.number(), z.number()]);

/** A strategy's rule, as far as the page tells it in words. */
export const rule = z.object({
  encoding: z.string(),
  window: z.number(),
  direction: z.string(),
  gates: z.array(
    z.union([
      z.object({ metric: z.string(), percentile: range }),
      z.object({ metric: z.string(), value: range }),
    ]),
  ),
  horizon_bars: z.number(),
  stop_ticks: z.number().nullable(),
  units: decimalText,
});
export type Rule = z.infer<typeof rule>;

/** What is kept of a strategy that is a class: its code never comes here. */
export const classRule = z.object({
  strategy: z.string(),
  source_sha256: z.string(),
  horizon_bars: z.number(),
  stop_ticks: z.number().nullable(),
  target_ticks: z.number().nullable(),
  units: decimalText,
});
export type ClassRule = z.infer<typeof classRule>;

const scopeState = z.object({ state: tradingStateName, reason: z.string() }).nullable();

export const scopeName = z.enum(['GLOBAL', 'ACCOUNT', 'STRATEGY']);
export type ScopeName = z.infer<typeof scopeName>;

/** `ended_because` is "flat" when nothing is left. */
const closing = z.object({
  id: z.number(),
  account: z.string(),
  strategy: z.string().nullable(),
  reason: z.string(),
  asked_by: z.string(),
  asked_at: z.string(),
  ended_at: z.string().nullable(),
  ended_because: z.string(),
  left: z.array(
    z.object({
      what: z.enum(['position', 'order']),
      name: z.string(),
      units: decimalText,
      why: z.string(),
    }),
  ),
});
export type Closing = z.infer<typeof closing>;

export const closings = z.object({ closings: z.array(closing) });

export const secondFactor = z.object({
  enrolled: z.boolean(),
  recovery_codes_left: z.number(),
});
export type SecondFactor = z.infer<typeof secondFactor>;

export const secondFactorBegun = z.object({
  uri: z.string(),
  secret: z.string(),
  qr: z.object({ size: z.number(), path: z.string() }),
});
export type SecondFactorBegun = z.infer<typeof secondFactorBegun>;

export const secondFactorMade = z.object({
  enrolled: z.boolean(),
  recovery_codes: z.array(z.string()),
});

export const status = z.object({
  /** The strictest state, and that of each scope. The halt flag counts in the strictest alone. */
  trading: z.object({
    state: tradingStateName,
    reason: z.string(),
    global: scopeState.default(null),
    account: scopeState.default(null),
    strategy: scopeState.default(null),
  }),
  feed: feed.nullable(),
  account: z
    .object({ id: z.number(), name: z.string(), kind: z.string(), currency: z.string() })
    .nullable(),
  strategy: z
    .object({
      id: z.number(),
      name: z.string(),
      enabled: z.boolean(),
      rule: z.record(z.string(), z.unknown()),
      session: z.string(),
      verdict: z.string(),
      verdict_text: z.string(),
      verdict_run: z.string(),
    })
    .nullable(),
  assumed_spread: z.object({ pips: decimalText, text: z.string() }).nullable(),
  engine: z.object({ version: z.string(), backends: z.array(z.string()) }),
});
export type Status = z.infer<typeof status>;

export const processStatus = z.enum(['up', 'late', 'down']);

const part = z.object({
  status: z.enum(['up', 'down']),
  kind: z.string(),
  latency_ms: z.number().nullable(),
});

export const health = z.object({
  status: z.enum(['ok', 'degraded', 'down']),
  version: z.string(),
  processes: z.array(
    z.object({
      name: z.string(),
      status: processStatus,
      age_s: z.number().nullable(),
      pid: z.number().nullable(),
    }),
  ),
  database: part,
  valkey: part,
  time: instant,
});
type Health = z.infer<typeof health>;
export type ProcessHealth = Health['processes'][number];

export const signal = z.object({
  id: z.number(),
  time: instant,
  created_at: instant,
  instrument: z.string(),
  strategy: z.object({ id: z.number(), name: z.string() }),
  direction: z.enum(['BUY', 'SELL']),
  price: decimalText,
  metrics: figures,
  percentiles: figures,
  reason: z.string(),
  order_id: z.number().nullable(),
  verdict: z.string(),
});
export type Signal = z.infer<typeof signal>;

export const orderState = z.enum([
  'CREATED',
  'DENIED',
  'QUEUED',
  'SENDING',
  'UNKNOWN',
  'ACCEPTED',
  'PARTIAL',
  'FILLED',
  'CANCELLED',
  'REJECTED',
  'EXPIRED',
  'EXPIRED_UNSENT',
  'CANCEL_PENDING',
  'REPLACE_PENDING',
  'REPLACED',
  'CHANGE_UNKNOWN',
]);
export type OrderState = z.infer<typeof orderState>;

export const orderType = z.enum([
  'MARKET',
  'LIMIT',
  'STOP',
  'MARKET_IF_TOUCHED',
  'STOP_LOSS',
  'TAKE_PROFIT',
  'TRAILING_STOP_LOSS',
  'GUARANTEED_STOP_LOSS',
]);
export type OrderType = z.infer<typeof orderType>;

export const timeInForce = z.enum(['GTC', 'GTD', 'GFD', 'FOK', 'IOC']);
export type TimeInForce = z.infer<typeof timeInForce>;

export const positionFill = z.enum(['DEFAULT', 'OPEN_ONLY', 'REDUCE_FIRST', 'REDUCE_ONLY']);
export type PositionFill = z.infer<typeof positionFill>;

export const fill = z.object({
  id: z.number(),
  units: decimalText,
  price: decimalText,
  realised_pl: decimalText,
  opened_units: decimalText.nullable(),
  assumed_spread: z.boolean(),
  time: instant,
});
export type Fill = z.infer<typeof fill>;

export const order = z.object({
  id: z.number(),
  client_id: z.string(),
  instrument: z.string(),
  origin: z.string(),
  type: orderType,
  units: decimalText,
  price: decimalText.nullable(),
  stop_loss: decimalText.nullable(),
  take_profit: decimalText.nullable(),
  stop_distance: decimalText.nullable(),
  target_distance: decimalText.nullable(),
  trailing_distance: decimalText.nullable(),
  time_in_force: timeInForce,
  good_until: instant.nullable(),
  position_fill: positionFill,
  trade_id: z.string(),
  replaces_id: z.number().nullable(),
  state: orderState,
  cause: z.string(),
  filled_units: decimalText,
  average_price: decimalText.nullable(),
  denied_rule: z.string(),
  denied_reason: z.string(),
  reduce_only: z.boolean(),
  parent_id: z.number().nullable(),
  signal_id: z.number().nullable(),
  venue_order_id: z.string(),
  market_time: instant.nullable(),
  created_at: instant,
  updated_at: instant,
  fills: z.array(fill),
});
export type Order = z.infer<typeof order>;

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);

/** One rule of the risk gate with the figures that it compared. */
const check = z.object({ rule: z.string(), limit: scalar, value: scalar, passed: z.boolean() });

/** What the account's venue takes. */
export const broker = z.object({
  kind: z.string(),
  types: z.array(
    z.object({ type: orderType, times_in_force: z.array(timeInForce), needs_trade: z.boolean() }),
  ),
  position_fills: z.array(positionFill),
  on_fill: z.array(orderType),
  trades: z.boolean(),
  replaces: z.boolean(),
});
export type Broker = z.infer<typeof broker>;

export const trade = z.object({
  id: z.string(),
  instrument: z.string(),
  opened_units: decimalText,
  units: decimalText,
  price: decimalText,
  realised_pl: decimalText,
  order_id: z.number().nullable(),
  opened_at: instant,
});
export type Trade = z.infer<typeof trade>;

export const reconciliation = z.object({
  id: z.number(),
  cause: z.string(),
  outcome: z.enum(['AGREED', 'CAUGHT_UP', 'DIFFERED', 'UNREACHED']),
  done: z.string(),
  facts_read: z.number(),
  adopted: z.number(),
  differences: z.array(
    z.object({
      what: z.string(),
      key: z.string(),
      local: decimalText.nullable(),
      reported: decimalText.nullable(),
    }),
  ),
  started_at: instant,
  took_ms: z.number(),
});
export type Reconciliation = z.infer<typeof reconciliation>;

export const reconciliationDetail = reconciliation.extend({
  rows: z.array(
    z.object({
      what: z.string(),
      key: z.string(),
      name: z.string(),
      order_id: z.number().nullable(),
      origin: z.string(),
      local: z.string().nullable(),
      reported: z.string().nullable(),
      same: z.boolean(),
    }),
  ),
});
export type ReconciliationDetail = z.infer<typeof reconciliationDetail>;

export const orderDetail = order.extend({
  account: z.object({ name: z.string(), kind: z.string() }),
  created_by: z.string().nullable(),
  checks: z.array(check),
  signal: signal.extend({ inputs: z.record(z.string(), z.unknown()) }).nullable(),
  related: z.array(
    z.object({
      how: z.string(),
      id: z.number(),
      type: orderType,
      units: decimalText,
      state: orderState,
    }),
  ),
  events: z.array(
    z.object({
      seq: z.number(),
      time: instant,
      state: orderState,
      cause: z.string(),
      filled_units: decimalText,
    }),
  ),
  facts: z.array(
    z.object({
      transaction_id: z.number(),
      kind: z.string(),
      raw: z.unknown(),
      applied_at: instant,
    }),
  ),
});
export type OrderDetail = z.infer<typeof orderDetail>;

export const position = z.object({
  instrument: z.string(),
  side: z.enum(['NET', 'LONG', 'SHORT']),
  units: decimalText,
  average_price: decimalText.nullable(),
  mark: decimalText.nullable(),
  open_pl: decimalText.nullable(),
  realised_pl: decimalText,
  stop_loss: decimalText.nullable(),
  trailing_distance: decimalText.nullable(),
  age_s: z.number().nullable(),
  currency: z.string(),
});
export type Position = z.infer<typeof position>;

export const performance = z.object({
  account: z.string(),
  currency: z.string(),
  balance: decimalText,
  equity: decimalText.nullable(),
  realised_pl: decimalText,
  open_pl: decimalText.nullable(),
  day_pl: decimalText.nullable(),
  trades: z.number(),
  wins: z.number(),
  win_rate: z.number().nullable(),
  max_drawdown: decimalText.nullable(),
  drawdown: decimalText.nullable(),
  sharpe: z.number().nullable(),
  as_of: instant.nullable(),
  market_time: instant.nullable(),
  assumed_spread: z.boolean(),
});
export type Performance = z.infer<typeof performance>;

const equityPoint = z.object({
  time: instant,
  created_at: instant,
  equity: decimalText,
  balance: decimalText,
});
export type EquityPoint = z.infer<typeof equityPoint>;

export const performanceHistory = z.object({ points: z.array(equityPoint) });

export const alert = z.object({
  level: z.enum(['info', 'warning', 'error']).catch('warning'),
  text: z.string(),
});
export type Alert = z.infer<typeof alert>;

export const instrument = z.object({ name: z.string(), enabled: z.boolean() });

export function pageOf<Row extends z.ZodType>(row: Row) {
  return z.object({
    count: z.number().nullable(),
    next: z.string().nullable(),
    previous: z.string().nullable(),
    results: z.array(row),
  });
}

/** One event of the socket: `seq` counts up by one within a stream. */
export const envelope = z.object({
  stream: z.string(),
  seq: z.number().int(),
  time: z.string(),
  type: z.string(),
  data: z.unknown(),
});
export type Envelope = z.infer<typeof envelope>;

export const apiError = z.object({
  code: z.string(),
  message: z.string(),
  fields: z.record(z.string(), z.unknown()).nullish(),
});
