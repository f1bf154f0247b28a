import { beforeEach, describe, expect, test } from 'vitest';

import type { Envelope } from '../api/model';
import {
  DOUBT_MS,
  GAP_MAX_MS,
  PING_EVERY_MS,
  SILENCE_MAX_MS,
  StreamClient,
  TicketRefused,
  type Connection,
  type Socket,
  type World,
} from './stream-client';

class FakeSocket implements Socket {
  readonly sent: unknown[] = [];
  closed = false;
  onopen: (() => void) | null = null;
  onmessage: ((text: string) => void) | null = null;
  onclose: ((code: number) => void) | null = null;

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.closed = true;
  }
  says(message: object): void {
    this.onmessage?.(JSON.stringify(message));
  }
}

/** A clock that moves when told to, and a network whose sockets the test holds. */
class FakeWorld implements World {
  time = 1_000_000;
  timers: { at: number; run: () => void }[] = [];
  sockets: FakeSocket[] = [];
  tickets: (() => Promise<string>)[] = [];

  now = () => this.time;
  random = () => 1;
  setTimer = (after_ms: number, run: () => void) => {
    const timer = { at: this.time + after_ms, run };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  };
  ticket = () => (this.tickets.shift() ?? (() => Promise.resolve('t')))();
  open = () => {
    const socket = new FakeSocket();
    this.sockets.push(socket);
    return socket;
  };

  async pass(ms: number): Promise<void> {
    const end = this.time + ms;
    for (;;) {
      const due = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.time = due.at;
      this.timers = this.timers.filter((other) => other !== due);
      due.run();
      await settle();
    }
    this.time = end;
  }

  get socket(): FakeSocket {
    const last = this.sockets.at(-1);
    if (last === undefined) throw new Error('no socket was opened');
    return last;
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
}

let world: FakeWorld;
let events: string[];
let snapshots: string[][];
let connections: Connection[];
let refusals: string[];
let client: StreamClient;

const order = (seq: number): object => envelopeOf('orders', seq);
const tick = (seq: number): object => envelopeOf('market.EUR_USD', seq);

function envelopeOf(stream: string, seq: number): Envelope {
  return { stream, seq, time: '2017-01-02T00:00:00Z', type: 'x', data: {} };
}

async function goLive(): Promise<void> {
  client.start();
  await settle();
  world.socket.onopen?.();
  world.socket.says({
    type: 'subscribed',
    streams: { orders: { seq: 10 }, 'market.EUR_USD': { seq: 500 } },
  });
}

beforeEach(() => {
  world = new FakeWorld();
  events = [];
  snapshots = [];
  connections = [];
  refusals = [];
  client = new StreamClient(
    world,
    {
      event: ({ stream, seq }) => events.push(`${stream}:${String(seq)}`),
      snapshotRequired: (streams) => snapshots.push(streams),
      connection: (connection) => connections.push(connection),
      refused: (_code, message) => refusals.push(message),
    },
    { orders: { gapless: true }, 'market.EUR_USD': { gapless: false } },
  );
});

describe('the first connection', () => {
  test('subscribes from now and asks for a snapshot of each stream', async () => {
    await goLive();
    expect(world.socket.sent).toEqual([
      { type: 'subscribe', streams: { orders: null, 'market.EUR_USD': null } },
    ]);
    expect(snapshots).toEqual([['orders', 'market.EUR_USD']]);
    expect(connections.at(-1)).toEqual({ state: 'live' });
  });

  test('is retried when the server does not answer within 10 s', async () => {
    client.start();
    await settle();
    await world.pass(10_000);
    expect(connections.at(-1)).toMatchObject({ state: 'reconnecting', attempt: 1 });
    expect(world.socket.closed).toBe(true);
  });

  test('ends when the ticket is refused', async () => {
    world.tickets = [() => Promise.reject(new TicketRefused())];
    client.start();
    await settle();
    expect(connections.at(-1)).toEqual({ state: 'logged_out' });
    await world.pass(60_000);
    expect(world.sockets).toHaveLength(0);
  });

  test('is retried when the ticket cannot be fetched', async () => {
    world.tickets = [() => Promise.reject(new Error('no network'))];
    client.start();
    await settle();
    await world.pass(500);
    expect(world.sockets).toHaveLength(1);
  });

  test('is not called live while a stream cannot be read', async () => {
    client.start();
    await settle();
    world.socket.onopen?.();
    world.socket.says({ type: 'error', code: 'unavailable', message: 'Valkey does not answer.' });
    world.socket.says({ type: 'subscribed', streams: { orders: { seq: 10 } } });
    expect(connections.at(-1)).toMatchObject({ state: 'reconnecting', attempt: 1 });
  });
});

describe('events', () => {
  test('arrive once and in order', async () => {
    await goLive();
    for (const seq of [11, 11, 12, 11, 13]) world.socket.says(order(seq));
    expect(events).toEqual(['orders:11', 'orders:12', 'orders:13']);
  });

  test('after a gap wait for the missing ones, which are asked for once', async () => {
    await goLive();
    for (const seq of [11, 14, 15]) world.socket.says(order(seq));
    expect(events).toEqual(['orders:11']);
    expect(world.socket.sent.slice(1)).toEqual([{ type: 'subscribe', streams: { orders: 11 } }]);

    for (const seq of [12, 13, 14, 15, 16]) world.socket.says(order(seq));
    expect(events).toEqual([11, 12, 13, 14, 15, 16].map((seq) => `orders:${String(seq)}`));
    await world.pass(GAP_MAX_MS);
    expect(snapshots).toHaveLength(1);
  });

  test('whose predecessors never come lead to a snapshot', async () => {
    await goLive();
    world.socket.says(order(14));
    await world.pass(GAP_MAX_MS);
    expect(snapshots.at(-1)).toEqual(['orders']);
    world.socket.says(order(14));
    world.socket.says(order(15));
    expect(events).toEqual(['orders:15']);
  });

  test('of a conflated stream may skip numbers but never go back', async () => {
    await goLive();
    for (const seq of [501, 507, 506, 508]) world.socket.says(tick(seq));
    expect(events).toEqual([501, 507, 508].map((seq) => `market.EUR_USD:${String(seq)}`));
    expect(world.socket.sent).toHaveLength(1);
  });

  test('of unknown streams, and text that is no message, are ignored', async () => {
    await goLive();
    world.socket.says(envelopeOf('gossip', 1));
    world.socket.says({ type: 'poem' });
    world.socket.onmessage?.('{');
    expect(events).toEqual([]);
    expect(connections.at(-1)).toEqual({ state: 'live' });
  });

  test('that the server can no longer give lead to a snapshot from its number on', async () => {
    await goLive();
    world.socket.says({ type: 'snapshot_required', stream: 'orders', seq: 40 });
    expect(snapshots.at(-1)).toEqual(['orders']);
    world.socket.says(order(40));
    world.socket.says(order(41));
    expect(events).toEqual(['orders:41']);
  });

  test('refusals of the server are passed on', async () => {
    await goLive();
    world.socket.says({ type: 'error', code: 'unknown_stream', message: 'No stream gossip.' });
    expect(refusals).toEqual(['No stream gossip.']);
  });
});

describe('a lost connection', () => {
  test('resumes from the last number of each stream and needs no snapshot', async () => {
    await goLive();
    world.socket.says(order(11));
    world.socket.says(tick(503));
    world.socket.onclose?.(1006);
    await world.pass(500);
    world.socket.onopen?.();
    expect(world.socket.sent).toEqual([
      { type: 'subscribe', streams: { orders: 11, 'market.EUR_USD': 503 } },
    ]);
    world.socket.says({
      type: 'subscribed',
      streams: { orders: { seq: 13 }, 'market.EUR_USD': { seq: 560 } },
    });
    world.socket.says(order(12));
    world.socket.says(order(13));
    expect(events).toEqual(['orders:11', 'market.EUR_USD:503', 'orders:12', 'orders:13']);
    expect(snapshots).toHaveLength(1);
  });

  test('starts over when the server has not reached the number that it had', async () => {
    await goLive();
    world.socket.onclose?.(1006);
    await world.pass(500);
    world.socket.onopen?.();
    world.socket.says({
      type: 'subscribed',
      streams: { orders: { seq: 2 }, 'market.EUR_USD': { seq: 600 } },
    });
    expect(snapshots.at(-1)).toEqual(['orders']);
    world.socket.says(order(3));
    expect(events).toEqual(['orders:3']);
  });

  test('is noticed after two unanswered pings', async () => {
    await goLive();
    await world.pass(SILENCE_MAX_MS - 1);
    expect(world.socket.sent.slice(1)).toEqual([{ type: 'ping' }, { type: 'ping' }]);
    expect(connections.at(-1)).toEqual({ state: 'live' });
    await world.pass(1);
    expect(connections.at(-1)).toMatchObject({ state: 'reconnecting', attempt: 1 });
  });

  test('is not suspected while pongs come', async () => {
    await goLive();
    for (let n = 0; n < 10; n += 1) {
      await world.pass(PING_EVERY_MS);
      world.socket.says({ type: 'pong' });
    }
    expect(world.sockets).toHaveLength(1);
    expect(client.lastHeardAt).toBe(world.time);
  });

  test('waits 0.5, 1, 2, 4, 8, 8 s between attempts, and 0.5 s again after a success', async () => {
    await goLive();
    world.socket.onclose?.(1006);
    const waits: number[] = [];
    for (let n = 0; n < 6; n += 1) {
      const last = connections.at(-1);
      if (last?.state !== 'reconnecting') throw new Error('not reconnecting');
      waits.push(last.retryAt - world.time);
      await world.pass(last.retryAt - world.time);
      world.socket.onclose?.(1006);
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 8_000]);

    await world.pass(8_000);
    world.socket.onopen?.();
    world.socket.says({
      type: 'subscribed',
      streams: { orders: { seq: 10 }, 'market.EUR_USD': { seq: 500 } },
    });
    world.socket.onclose?.(1006);
    expect(connections.at(-1)).toMatchObject({ attempt: 1, retryAt: world.time + 500 });
  });

  test('spreads attempts over half of the wait', async () => {
    await goLive();
    world.random = () => 0;
    world.socket.onclose?.(1006);
    expect(connections.at(-1)).toMatchObject({ retryAt: world.time + 250 });
  });

  test('is retried at once when the network comes back', async () => {
    await goLive();
    world.socket.onclose?.(1006);
    client.doubt();
    await settle();
    expect(world.sockets).toHaveLength(2);
  });

  test('is found quickly when the browser reports a change', async () => {
    await goLive();
    client.doubt();
    expect(world.socket.sent.at(-1)).toEqual({ type: 'ping' });
    await world.pass(DOUBT_MS);
    expect(connections.at(-1)).toMatchObject({ state: 'reconnecting' });
  });

  test('is not assumed when the server answers the doubt', async () => {
    await goLive();
    client.doubt();
    world.socket.says({ type: 'pong' });
    await world.pass(DOUBT_MS);
    expect(connections.at(-1)).toEqual({ state: 'live' });
  });

  test('leaves nothing that the old socket says to be heard', async () => {
    await goLive();
    const old = world.socket;
    old.onclose?.(1006);
    old.says(order(11));
    expect(old.closed).toBe(true);
    expect(events).toEqual([]);
  });

  test('forgets events that waited for a gap, because the resume brings them again', async () => {
    await goLive();
    world.socket.says(order(14));
    world.socket.onclose?.(1006);
    await world.pass(500);
    world.socket.onopen?.();
    world.socket.says({
      type: 'subscribed',
      streams: { orders: { seq: 14 }, 'market.EUR_USD': { seq: 500 } },
    });
    for (const seq of [11, 12, 13, 14]) world.socket.says(order(seq));
    expect(events).toEqual([11, 12, 13, 14].map((seq) => `orders:${String(seq)}`));
    expect(snapshots).toHaveLength(1);
  });
});

test('a stopped client closes its socket and sets no timer', async () => {
  await goLive();
  client.stop();
  expect(world.socket.closed).toBe(true);
  expect(world.timers).toEqual([]);
});
