/** What the page asks for. Each is recorded as an intent; the events say what became of it. */
import { z } from 'zod';

import { request } from './http';
import * as model from './model';

export type OrderIntent = {
  instrument: string;
  units?: string;
  type: model.OrderType;
  price?: string;
  stop_loss?: string;
  take_profit?: string;
  trailing_distance?: string;
  time_in_force?: model.TimeInForce;
  good_until?: string;
  position_fill?: model.PositionFill;
  trade_id?: string;
  reduce_only?: boolean;
};

/** New terms of a working order; what is left out stays, null takes a stop or target away. */
export type OrderChange = {
  units?: string;
  price?: string;
  stop_loss?: string | null;
  take_profit?: string | null;
  trailing_distance?: string | null;
  time_in_force?: model.TimeInForce;
  good_until?: string;
};

/** Seconds that the server may take to say what became of an order. */
const WAIT_S = 2;

/** @param key  the same for every attempt at the same order, so that a repeat orders nothing. */
export function placeOrder(intent: OrderIntent, key: string): Promise<model.Order> {
  return request(`/api/place-order?wait=${WAIT_S}`, model.order, {
    method: 'POST',
    body: intent,
    headers: { 'Idempotency-Key': key },
  });
}

/** The answer is the order that takes the other's place. */
export function changeOrder(id: number, change: OrderChange, key: string): Promise<model.Order> {
  return request(`/api/orders/${id}?wait=${WAIT_S}`, model.order, {
    method: 'PATCH',
    body: change,
    headers: { 'Idempotency-Key': key },
  });
}

export function cancelOrder(id: number): Promise<unknown> {
  return request(`/api/orders/${id}`, z.unknown(), { method: 'DELETE' });
}

/** @param units  how many to close; all where it is left out. */
export function closePosition(
  { instrument, side }: Pick<model.Position, 'instrument' | 'side'>,
  key: string,
  units?: string,
): Promise<model.Order> {
  return request(`/api/positions/${instrument}/close`, model.order, {
    method: 'POST',
    headers: { 'Idempotency-Key': key },
    body: { ...(side === 'NET' ? {} : { side }), ...(units === undefined ? {} : { units }) },
  });
}

/** @param units  how many to close; all where it is left out. */
export function closeTrade(id: string, key: string, units?: string): Promise<model.Order> {
  return request(`/api/trades/${id}/close`, model.order, {
    method: 'POST',
    headers: { 'Idempotency-Key': key },
    body: units === undefined ? {} : { units },
  });
}

/** `strategy`: its id, of the scope STRATEGY alone. */
type Whose = { scope: model.ScopeName; strategy?: number };

export function closeEverything(wanted: Whose & { reason: string }): Promise<unknown> {
  return request('/api/trading/close-everything', z.unknown(), { method: 'POST', body: wanted });
}

/** `proof`: to loosen a state, the code of the second factor or the password; else "". */
export type StateChange = Whose & {
  state: model.TradingStateName;
  reason: string;
  proof: string;
};

export function setTradingState(change: StateChange): Promise<unknown> {
  return request('/api/trading/state', z.unknown(), { method: 'POST', body: change });
}

export function beginSecondFactor(password: string): Promise<model.SecondFactorBegun> {
  const body = { password };
  return request('/api/auth/second-factor', model.secondFactorBegun, { method: 'POST', body });
}

/** The answer has the recovery codes, which are told this once. */
export function confirmSecondFactor(code: string) {
  const body = { code };
  return request('/api/auth/second-factor/confirm', model.secondFactorMade, {
    method: 'POST',
    body,
  });
}

/** @param proof  the code of now, or a recovery code. */
export function endSecondFactor(proof: string): Promise<model.SecondFactor> {
  const body = { proof };
  return request('/api/auth/second-factor/end', model.secondFactor, { method: 'POST', body });
}

export type FeedControl = { bars_per_second?: number; paused?: boolean; restart?: boolean };

export function controlFeed(control: FeedControl): Promise<unknown> {
  return request('/api/feed', z.unknown(), { method: 'POST', body: control });
}

/** 128 random bits. crypto.randomUUID is missing where the page came over plain HTTP. */
export function idempotencyKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
