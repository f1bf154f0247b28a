/** The browser's own clock and sockets for the stream client. */
import { z } from 'zod';

import { ApiError, request } from '../api/http';
import { TicketRefused, type Socket, type World } from './stream-client';

export const browserWorld: World = {
  now: () => Date.now(),
  random: () => Math.random(),
  setTimer(after_ms, run) {
    const id = setTimeout(run, after_ms);
    return () => {
      clearTimeout(id);
    };
  },
  async ticket() {
    try {
      const schema = z.object({ ticket: z.string() });
      return (await request('/api/auth/ws-ticket', schema, { method: 'POST' })).ticket;
    } catch (error) {
      if (error instanceof ApiError && error.isRefusal) throw new TicketRefused();
      throw error;
    }
  },
  open(ticket) {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const address = `${scheme}://${location.host}/ws/?ticket=${encodeURIComponent(ticket)}`;
    const raw = new WebSocket(address);
    const socket: Socket = {
      send(text) {
        if (raw.readyState === WebSocket.OPEN) raw.send(text);
      },
      close() {
        raw.close();
      },
      onopen: null,
      onmessage: null,
      onclose: null,
    };
    raw.onopen = () => socket.onopen?.();
    raw.onmessage = ({ data }) => {
      if (typeof data === 'string') socket.onmessage?.(data);
    };
    raw.onclose = ({ code }) => socket.onclose?.(code);
    return socket;
  },
};
