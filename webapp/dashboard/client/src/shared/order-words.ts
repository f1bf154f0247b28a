/** An order's state and its refusal, in the words that every part of the page uses. */
import type { Order, OrderState, TimeInForce } from './api/model';
import { figuresText, wordsOf } from './format';

export const STATE_WORDS: Record<OrderState, string> = {
  CREATED: 'created',
  DENIED: 'denied',
  QUEUED: 'queued',
  SENDING: 'sending',
  UNKNOWN: 'unknown',
  ACCEPTED: 'working',
  PARTIAL: 'part filled',
  FILLED: 'filled',
  CANCELLED: 'cancelled',
  REJECTED: 'rejected',
  EXPIRED: 'expired',
  EXPIRED_UNSENT: 'expired unsent',
  CANCEL_PENDING: 'cancelling',
  REPLACE_PENDING: 'changing',
  REPLACED: 'replaced',
  CHANGE_UNKNOWN: 'change unknown',
};

export const TIME_WORDS: Record<TimeInForce, string> = {
  GTC: 'until cancelled',
  GTD: 'until a time',
  GFD: 'for the day',
  FOK: 'fill or kill',
  IOC: 'immediate or cancel',
};

/** "price_collar_pips: 59081.45, allowed is at most 50" names its rule in words. */
export function denialText({ denied_rule, denied_reason }: Order): string {
  const rule = `${denied_rule}: `;
  if (denied_rule === '' || !denied_reason.startsWith(rule)) return denied_reason;
  return `${wordsOf(denied_rule)}: ${figuresText(denied_reason.slice(rule.length))}`;
}
