import type { OrderState } from '../../shared/api/model';
import { STATE_WORDS } from '../../shared/order-words';

const TONES: Record<OrderState, '' | 'good' | 'bad' | 'busy' | 'doubt'> = {
  CREATED: 'busy',
  DENIED: 'bad',
  QUEUED: 'busy',
  SENDING: 'busy',
  UNKNOWN: 'doubt',
  ACCEPTED: 'busy',
  PARTIAL: 'busy',
  FILLED: 'good',
  CANCELLED: '',
  REJECTED: 'bad',
  EXPIRED: '',
  EXPIRED_UNSENT: '',
  CANCEL_PENDING: 'busy',
  REPLACE_PENDING: 'busy',
  REPLACED: '',
  CHANGE_UNKNOWN: 'doubt',
};

export function StateChip({ state }: { state: OrderState }) {
  return <span className={`chip ${TONES[state]}`}>{STATE_WORDS[state]}</span>;
}

/** What a state that is not plain from its name means to whoever looks at the order. */
export const MEANINGS: Partial<Record<OrderState, string>> = {
  DENIED: 'The risk gate refused it; it was never sent.',
  UNKNOWN:
    'It was sent and no clear answer came. ' +
    'The broker is asked until it answers; nothing is sent again.',
  REJECTED: 'The broker refused it.',
  EXPIRED_UNSENT: 'It did not reach the broker in time, so it ended here.',
  CHANGE_UNKNOWN:
    'A change was sent and no clear answer came. ' +
    'The broker is asked until it answers; nothing is sent again.',
  REPLACED: 'Another order with other terms took its place.',
};

/** Whether a person can still take the order back. */
export const CANCELLABLE: Record<OrderState, boolean> = {
  CREATED: true,
  DENIED: false,
  QUEUED: true,
  SENDING: false,
  UNKNOWN: false,
  ACCEPTED: true,
  PARTIAL: true,
  FILLED: false,
  CANCELLED: false,
  REJECTED: false,
  EXPIRED: false,
  EXPIRED_UNSENT: false,
  CANCEL_PENDING: false,
  REPLACE_PENDING: false,
  REPLACED: false,
  CHANGE_UNKNOWN: false,
};

/** Whether the venue may be asked for other terms: the order works there and nothing is pending. */
export const CHANGEABLE: Record<OrderState, boolean> = {
  CREATED: false,
  DENIED: false,
  QUEUED: false,
  SENDING: false,
  UNKNOWN: false,
  ACCEPTED: true,
  PARTIAL: true,
  FILLED: false,
  CANCELLED: false,
  REJECTED: false,
  EXPIRED: false,
  EXPIRED_UNSENT: false,
  CANCEL_PENDING: false,
  REPLACE_PENDING: false,
  REPLACED: false,
  CHANGE_UNKNOWN: false,
};
