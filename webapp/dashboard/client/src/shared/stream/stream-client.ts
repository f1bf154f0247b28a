/**
 * The socket that keeps the page up to date and loses nothing.
 *
 * Every event carries a sequence number that counts up by one within its stream. The client keeps
 * the last one of each stream and asks for the rest when it comes back. Events of a gapless stream
 * are handed on in order, once each; where the server cannot give the rest, the owner is told to
 * read the stream's resource again.
 */
import { z } from 'zod';

import { envelope, type Envelope } from '../api/model';

export const PING_EVERY_MS = 5_000;
/** Two pings without any answer. */
export const SILENCE_MAX_MS = 12_000;
/** After the browser reports a change of network, an answer is due sooner. */
export const DOUBT_MS = 2_500;
const OPENING_MAX_MS = 10_000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 8_000;
/** How long events wait for the missing ones before them. */
export const GAP_MAX_MS = 5_000;
const HELD_MAX = 1_000;

export type Connection =
  | { state: 'connecting' }
  | { state: 'live' }
  | { state: 'reconnecting'; attempt: number; retryAt: number }
  | { state: 'logged_out' };

/** The ticket was refused: the session has ended. Trying again cannot help. */
export class TicketRefused extends Error {}

/** The part of WebSocket that the client uses. */
export type Socket = {
  send(text: string): void;
  close(): void;
  onopen: (() => void) | null;
  onmessage: ((text: string) => void) | null;
  onclose: ((code: number) => void) | null;
};

/** Clock, chance and network, given from outside so that tests own them. */
export type World = {
  now(): number;
  setTimer(after_ms: number, run: () => void): () => void;
  random(): number;
  ticket(): Promise<string>;
  open(ticket: string): Socket;
};

export type Listener = {
  event(event: Envelope): void;
  /** Read these streams' resources again: events were missed that nobody can give. */
  snapshotRequired(streams: string[]): void;
  connection(connection: Connection): void;
  /** The server refused what the client asked, in its words. */
  refused(code: string, message: string): void;
};

type StreamState = { gapless: boolean; last: number | null; held: Map<number, Envelope> };

const seqs = z.record(z.string(), z.object({ seq: z.number().int() }));
const serverMessage = z.discriminatedUnion('type', [
  z.object({ type: z.literal('pong') }),
  z.object({ type: z.literal('subscribed'), streams: seqs }),
  z.object({ type: z.literal('snapshot_required'), stream: z.string(), seq: z.number().int() }),
  z.object({ type: z.literal('error'), code: z.string(), message: z.string() }),
]);

export class StreamClient {
  readonly #world: World;
  readonly #listener: Listener;
  readonly #streams = new Map<string, StreamState>();
  #socket: Socket | null = null;
  #attempt = 0;
  #generation = 0;
  #lastHeardAt: number;
  readonly #timers = new Map<'retry' | 'opening' | 'ping' | 'silence' | 'gap', () => void>();

  /** @param streams  name of each stream, and whether its events may never be skipped. */
  constructor(world: World, listener: Listener, streams: Record<string, { gapless: boolean }>) {
    this.#world = world;
    this.#listener = listener;
    this.#lastHeardAt = world.now();
    for (const [name, { gapless }] of Object.entries(streams)) {
      this.#streams.set(name, { gapless, last: null, held: new Map() });
    }
  }

  /** When the server was last heard, in the world's milliseconds. */
  get lastHeardAt(): number {
    return this.#lastHeardAt;
  }

  start(): void {
    void this.#connect();
  }

  stop(): void {
    this.#drop();
    this.#cancel('retry');
  }

  /** The network may have changed: retry at once, or make the server prove that it is there. */
  doubt(): void {
    if (this.#timers.has('retry')) {
      this.#attempt = 0;
      void this.#connect();
    } else if (this.#socket !== null && !this.#timers.has('opening')) {
      this.#say({ type: 'ping' });
      this.#expectWithin(DOUBT_MS);
    }
  }

  async #connect(): Promise<void> {
    this.#drop();
    this.#cancel('retry');
    const generation = this.#generation;
    if (this.#attempt === 0) this.#listener.connection({ state: 'connecting' });
    this.#after('opening', OPENING_MAX_MS, () => {
      this.#retry();
    });
    let ticket: string;
    try {
      ticket = await this.#world.ticket();
    } catch (error) {
      if (generation !== this.#generation) return;
      if (error instanceof TicketRefused) {
        this.#drop();
        this.#listener.connection({ state: 'logged_out' });
      } else {
        this.#retry();
      }
      return;
    }
    if (generation !== this.#generation) return;
    const socket = this.#world.open(ticket);
    this.#socket = socket;
    socket.onopen = () => {
      this.#subscribe([...this.#streams.keys()]);
    };
    socket.onmessage = (text) => {
      this.#hear(text);
    };
    socket.onclose = () => {
      this.#retry();
    };
  }

  /** Let go of the socket; nothing that it still says is heard. */
  #drop(): void {
    this.#generation += 1;
    for (const name of ['opening', 'ping', 'silence', 'gap'] as const) this.#cancel(name);
    for (const stream of this.#streams.values()) stream.held.clear();
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #retry(): void {
    this.#drop();
    const most = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** this.#attempt);
    // Between half and all of it, so that clients cut off together do not return together.
    const wait_ms = most * (0.5 + this.#world.random() / 2);
    this.#attempt += 1;
    this.#listener.connection({
      state: 'reconnecting',
      attempt: this.#attempt,
      retryAt: this.#world.now() + wait_ms,
    });
    this.#after('retry', wait_ms, () => {
      void this.#connect();
    });
  }

  #subscribe(names: string[]): void {
    const streams = Object.fromEntries(
      names.map((name) => [name, this.#streams.get(name)?.last ?? null]),
    );
    this.#say({ type: 'subscribe', streams });
  }

  #say(message: object): void {
    this.#socket?.send(JSON.stringify(message));
  }

  #hear(text: string): void {
    this.#lastHeardAt = this.#world.now();
    if (this.#timers.has('silence')) this.#expectWithin(SILENCE_MAX_MS);
    let message: unknown;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    const event = envelope.safeParse(message);
    if (event.success) {
      this.#take(event.data);
      return;
    }
    const control = serverMessage.safeParse(message);
    if (!control.success) return;
    if (control.data.type === 'subscribed') this.#subscribed(control.data.streams);
    if (control.data.type === 'error') {
      this.#listener.refused(control.data.code, control.data.message);
    }
    if (control.data.type === 'snapshot_required') {
      this.#startFrom([[control.data.stream, control.data.seq]]);
    }
  }

  #subscribed(heads: Record<string, { seq: number }>): void {
    // Without a number of ours, or with one that the server has not reached (its record was made
    // anew), what we know is no beginning of what it has.
    const unknown = Object.entries(heads).flatMap(([name, { seq }]): [string, number][] => {
      const last = this.#streams.get(name)?.last;
      return last === undefined || (last !== null && last <= seq) ? [] : [[name, seq]];
    });
    if (unknown.length > 0) this.#startFrom(unknown);
    if (!this.#timers.has('opening')) return;
    if ([...this.#streams.keys()].some((name) => heads[name] === undefined)) {
      // A stream could not be read just now. Half a page that looks live would lie.
      this.#retry();
      return;
    }
    this.#cancel('opening');
    this.#attempt = 0;
    this.#expectWithin(SILENCE_MAX_MS);
    this.#pingLater();
    this.#listener.connection({ state: 'live' });
  }

  #startFrom(points: [string, number][]): void {
    for (const [name, seq] of points) {
      const stream = this.#streams.get(name);
      if (stream === undefined) continue;
      stream.last = seq;
      stream.held.clear();
    }
    this.#listener.snapshotRequired(points.map(([name]) => name));
  }

  #take(event: Envelope): void {
    const stream = this.#streams.get(event.stream);
    if (stream === undefined) return;
    if (stream.last !== null && event.seq <= stream.last) return;
    if (!stream.gapless || stream.last === null || event.seq === stream.last + 1) {
      stream.last = event.seq;
      this.#listener.event(event);
      this.#takeHeld(stream);
      return;
    }
    const asked = stream.held.size > 0;
    stream.held.set(event.seq, event);
    if (stream.held.size > HELD_MAX) this.#giveUpGaps();
    else if (!asked) {
      this.#subscribe([event.stream]);
      if (!this.#timers.has('gap')) {
        this.#after('gap', GAP_MAX_MS, () => {
          this.#giveUpGaps();
        });
      }
    }
  }

  #takeHeld(stream: StreamState): void {
    for (;;) {
      const next = stream.last === null ? undefined : stream.held.get(stream.last + 1);
      if (next === undefined) break;
      stream.held.delete(next.seq);
      stream.last = next.seq;
      this.#listener.event(next);
    }
    if ([...this.#streams.values()].every(({ held }) => held.size === 0)) this.#cancel('gap');
  }

  #giveUpGaps(): void {
    this.#cancel('gap');
    const points = [...this.#streams].flatMap(([name, { held }]): [string, number][] =>
      held.size > 0 ? [[name, Math.max(...held.keys())]] : [],
    );
    this.#startFrom(points);
  }

  #pingLater(): void {
    this.#after('ping', PING_EVERY_MS, () => {
      this.#say({ type: 'ping' });
      this.#pingLater();
    });
  }

  #expectWithin(limit_ms: number): void {
    this.#after('silence', limit_ms, () => {
      this.#retry();
    });
  }

  #after(
    name: 'retry' | 'opening' | 'ping' | 'silence' | 'gap',
    wait_ms: number,
    run: () => void,
  ): void {
    this.#cancel(name);
    this.#timers.set(
      name,
      this.#world.setTimer(wait_ms, () => {
        this.#timers.delete(name);
        run();
      }),
    );
  }

  #cancel(name: 'retry' | 'opening' | 'ping' | 'silence' | 'gap'): void {
    this.#timers.get(name)?.();
    this.#timers.delete(name);
  }
}
