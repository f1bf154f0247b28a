/**
 * The API's own description, held against what the page reads and sends.
 *
 * The types of dist/openapi come from the OpenAPI schema (`npm run api`, part of `npm run lint`).
 * Nothing here runs: when the API may answer something that a schema of the page refuses, or
 * refuses something that the page sends, this file does not compile.
 */
import type { z } from 'zod';

import type { components } from '../../../dist/openapi';
import type { FeedControl, OrderChange, OrderIntent, StateChange } from './commands';
import type * as model from './model';

type Server = components['schemas'];

/** `Answer` must be something that `Schema` takes. */
type Reads<Schema extends z.ZodType, Answer extends z.input<Schema>> = [Schema, Answer];
/** `Body` must be something that the API takes. */
type Sends<Accepted, Body extends Accepted> = [Accepted, Body];

export type Contract = [
  Reads<typeof model.status, Server['StatusOut']>,
  Reads<typeof model.health, Server['HealthOut']>,
  Reads<typeof model.marketData, Server['MarketsOut']>,
  Reads<typeof model.candles, Server['CandlesOut']>,
  Reads<typeof model.qfh, Server['MetricsOut']>,
  Reads<typeof model.signal, Server['SignalOut']>,
  Reads<typeof model.order, Server['OrderOut']>,
  Reads<typeof model.orderDetail, Server['OrderDetailOut']>,
  Reads<typeof model.broker, Server['BrokerOut']>,
  Reads<typeof model.trade, Server['TradeOut']>,
  Reads<typeof model.reconciliation, Server['ReconciliationOut']>,
  Reads<typeof model.reconciliationDetail, Server['ReconciliationDetailOut']>,
  Reads<typeof model.position, Server['PositionOut']>,
  Reads<typeof model.performance, Server['PerformanceOut']>,
  Reads<typeof model.performanceHistory, Server['PerformanceHistoryOut']>,
  Reads<typeof model.apiError, Server['ErrorOut']>,
  Sends<Partial<Server['OrderInRequest']>, OrderIntent>,
  Sends<Server['PatchedOrderChangeInRequest'], OrderChange>,
  Sends<Server['FeedInRequest'], FeedControl>,
  Sends<Server['TradingStateInRequest'], StateChange>,
  Reads<typeof model.closings, Server['ClosingsOut']>,
  Reads<typeof model.secondFactor, Server['SecondFactorOut']>,
  Reads<typeof model.secondFactorBegun, Server['SecondFactorBeginOut']>,
  Reads<typeof model.secondFactorMade, Server['SecondFactorConfirmOut']>,
];
