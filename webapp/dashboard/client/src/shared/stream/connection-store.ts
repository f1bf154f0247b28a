/** How the page stands with the server, for every component that shows it. */
import { useSyncExternalStore } from 'react';

import { useNow } from '../ui/use-now';
import type { Connection } from './stream-client';

type Standing = { connection: Connection; lastHeardAt: () => number };

let wasLive = false;
let standing: Standing = { connection: { state: 'connecting' }, lastHeardAt: () => Date.now() };
const watchers = new Set<() => void>();

export function setStanding(next: Partial<Standing>): void {
  wasLive ||= next.connection?.state === 'live';
  standing = { ...standing, ...next };
  for (const watcher of watchers) watcher();
}

function watch(watcher: () => void): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

export function useConnection(): Connection {
  return useSyncExternalStore(watch, () => standing.connection);
}

/** Seconds since the server was last heard; null while the page is live, or only now opens. */
export function useStaleAge(): number | null {
  const connection = useConnection();
  const now = useNow();
  if (connection.state === 'live' || (connection.state === 'connecting' && !wasLive)) return null;
  return Math.max(0, (now - standing.lastHeardAt()) / 1000);
}
