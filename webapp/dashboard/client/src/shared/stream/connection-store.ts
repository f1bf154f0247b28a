/** How the page stands with the server, for every component that shows it. */
import { useSyncExternalStore } from 'react';

import { useNow } from '../ui/use-now';
import type { Connection } from './stream-client';

type Standing = { connection: Connection; lastHeardAt: () => number };

let standing: Standing = { connection: { state: 'connecting' }, lastHeardAt: () => Date.now() };
const watchers = new Set<() => void>();

export function setStanding(next: Partial<Standing>): void {
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

/** Seconds since the server was last heard, or null while the page is live. */
export function useStaleAge(): number | null {
  const connection = useConnection();
  const now = useNow();
  return connection.state === 'live' ? null : Math.max(0, (now - standing.lastHeardAt()) / 1000);
}
