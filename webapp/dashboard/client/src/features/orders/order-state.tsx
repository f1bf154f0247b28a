import type { OrderState } from '../../shared/api/model';

type Look = { words: string; tone: '' | 'good' | 'bad' | 'busy' | 'doubt' };

const LOOKS: Record<OrderState, Look> = {
  CREATED: { words: 'created', tone: 'busy' },
  DENIED: { words: 'denied', tone: 'bad' },
  QUEUED: { words: 'queued', tone: 'busy' },
  SENDING: { words: 'sending', tone: 'busy' },
  UNKNOWN: { words: 'unknown', tone: 'doubt' },
  ACCEPTED: { words: 'working', tone: 'busy' },
  PARTIAL: { words: 'part filled', tone: 'busy' },
  FILLED: { words: 'filled', tone: 'good' },
  CANCELLED: { words: 'cancelled', tone: '' },
  REJECTED: { words: 'rejected', tone: 'bad' },
  EXPIRED: { words: 'expired', tone: '' },
  EXPIRED_UNSENT: { words: 'expired unsent', tone: '' },
  CANCEL_PENDING: { words: 'cancelling', tone: 'busy' },
  REPLACE_PENDING: { words: 'changing', tone: 'busy' },
  REPLACED: { words: 'replaced', tone: '' },
  CHANGE_UNKNOWN: { words: 'change unknown', tone: 'doubt' },
};

export function StateChip({ state }: { state: OrderState }) {
  const { words, tone } = LOOKS[state];
  return <span className={`chip ${tone}`}>{words}</span>;
}

/** What a state that is not plain from its name means to whoever looks at the order. */
export const MEANINGS: Partial<Record<OrderState, string>> = {
  DENIED: 'The risk gate refused it; it was never sent.',
  UNKNOWN:
    'It was sent and no clear answer came. The broker is asked until it answers; nothing is sent again.',
  REJECTED: 'The broker refused it.',
  EXPIRED_UNSENT: 'It did not reach the broker in time, so it ended here.',
  CHANGE_UNKNOWN:
    'A change was sent and no clear answer came. The broker is asked until it answers; nothing is sent again.',
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
