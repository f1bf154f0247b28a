/** Short messages that appear over the page and leave by themselves. */
import { useSyncExternalStore } from 'react';

export type Notice = { id: number; level: 'info' | 'warning' | 'error'; text: string };

const SHOWN_MAX = 4;
const SHOWN_MS = 10_000;

let notices: readonly Notice[] = [];
let nextId = 1;
const watchers = new Set<() => void>();

function set(next: readonly Notice[]): void {
  notices = next;
  for (const watcher of watchers) watcher();
}

export function notify(level: Notice['level'], text: string): void {
  const notice = { id: nextId, level, text };
  nextId += 1;
  set([...notices, notice].slice(-SHOWN_MAX));
  setTimeout(() => {
    dismiss(notice.id);
  }, SHOWN_MS);
}

export function dismiss(id: number): void {
  set(notices.filter((notice) => notice.id !== id));
}

export function useNotices(): readonly Notice[] {
  return useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    () => notices,
  );
}
