/** Short messages that appear over the page. News leave by themselves, errors when dismissed. */
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
  if (notices.some((other) => other.level === level && other.text === text)) return;
  const notice = { id: nextId, level, text };
  nextId += 1;
  set(fitting([...notices, notice]));
  // Who looked away must still learn of it.
  if (level === 'error') return;
  setTimeout(() => {
    dismiss(notice.id);
  }, SHOWN_MS);
}

/** As many as may be shown: the oldest news go before any error does. */
function fitting(all: readonly Notice[]): readonly Notice[] {
  if (all.length <= SHOWN_MAX) return all;
  const leaves = Math.max(0, all.findIndex(({ level }) => level !== 'error'));
  return all.filter((_, place) => place !== leaves);
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
