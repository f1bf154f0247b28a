import { useSyncExternalStore, type MouseEvent, type ReactNode } from 'react';

/** What the address says is shown, so that Back, a reload and a link to somebody else work. */
export function useRoute(): string[] {
  const path = useSyncExternalStore(watch, () => location.pathname);
  return path.split('/').filter((segment) => segment !== '');
}

/** What stands behind the question mark of the address. */
export function useSearch(): URLSearchParams {
  return new URLSearchParams(useSyncExternalStore(watch, () => location.search));
}

const watchers = new Set<() => void>();

function watch(watcher: () => void): () => void {
  watchers.add(watcher);
  addEventListener('popstate', watcher);
  return () => {
    watchers.delete(watcher);
    removeEventListener('popstate', watcher);
  };
}

/** Show another address of the page. */
export function go(path: string): void {
  history.pushState(null, '', path);
  for (const each of watchers) each();
}

type LinkProps = { to: string; className?: string; current?: boolean; children: ReactNode };

/** A link within the page; with a modifier key the browser opens it as any other. */
export function Link({ to, className, current = false, children }: LinkProps) {
  return (
    <a
      href={to}
      className={className}
      aria-current={current ? 'page' : undefined}
      onClick={(event: MouseEvent) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        go(to);
      }}
    >
      {children}
    </a>
  );
}
