import { notifyManager, useQueryClient, type QueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';

import { followedStreams, LiveCache } from '../shared/api/live';
import type { Envelope } from '../shared/api/model';
import { notify } from '../shared/notices';
import { browserWorld } from '../shared/stream/browser-world';
import { setStanding } from '../shared/stream/connection-store';
import { StreamClient } from '../shared/stream/stream-client';

/** Events are written together this often: often enough for the eye, at any speed of the replay. */
const WRITE_EVERY_MS = 50;

/** Keep the query cache up to date from the socket while the page is open. */
export function useStream(instrument: string | null): void {
  const client = useQueryClient();
  useEffect(() => (instrument === null ? undefined : follow(client, instrument)), [
    client,
    instrument,
  ]);
}

function follow(queryClient: QueryClient, instrument: string): () => void {
  const cache = new LiveCache(queryClient, ({ level, text }) => {
    notify(level, text);
  });
  let waiting: Envelope[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  function write() {
    timer = undefined;
    const events = waiting;
    waiting = [];
    // One batch: no component sees a part of what came together.
    notifyManager.batch(() => {
      for (const event of events) cache.take(event);
    });
  }

  const stream = new StreamClient(
    browserWorld,
    {
      event(event) {
        waiting.push(event);
        timer ??= setTimeout(write, WRITE_EVERY_MS);
      },
      snapshotRequired(streams) {
        cache.readAgain(streams);
      },
      connection(connection) {
        setStanding({ connection });
      },
      refused(code, message) {
        // What cannot be read now is asked for again; the connection's mark says so.
        if (code !== 'unavailable') notify('warning', message);
      },
    },
    followedStreams(instrument),
  );
  setStanding({ lastHeardAt: () => stream.lastHeardAt });

  const doubt = () => {
    if (document.visibilityState === 'visible') stream.doubt();
  };
  for (const name of ['online', 'offline', 'focus']) window.addEventListener(name, doubt);
  document.addEventListener('visibilitychange', doubt);
  const unfollow = cache.follow();
  stream.start();
  return () => {
    stream.stop();
    unfollow();
    clearTimeout(timer);
    for (const name of ['online', 'offline', 'focus']) window.removeEventListener(name, doubt);
    document.removeEventListener('visibilitychange', doubt);
  };
}
