/** Light, dark, or as the operating system says. The choice is a cookie: Django draws by it. */
import { useSyncExternalStore } from 'react';

export type Theme = 'system' | 'light' | 'dark';

const YEAR_S = 31_536_000;
const dark = matchMedia('(prefers-color-scheme: dark)');
const watchers = new Set<() => void>();

dark.addEventListener('change', tell);

function tell(): void {
  for (const watcher of watchers) watcher();
}

function watch(watcher: () => void): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

function chosen(): Theme {
  const { theme } = document.documentElement.dataset;
  return theme === 'light' || theme === 'dark' ? theme : 'system';
}

export function chooseTheme(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.cookie =
    theme === 'system'
      ? 'sep_theme=; path=/; max-age=0; samesite=lax'
      : `sep_theme=${theme}; path=/; max-age=${YEAR_S}; samesite=lax`;
  tell();
}

export function useTheme(): Theme {
  return useSyncExternalStore(watch, chosen);
}

/** What is drawn now; changes with the choice and with the operating system. */
export function useShade(): 'light' | 'dark' {
  const theme = useTheme();
  const system = useSyncExternalStore(watch, () => (dark.matches ? 'dark' : 'light'));
  return theme === 'system' ? system : theme;
}

/** The colour behind a custom property such as "--up", as the canvas of a chart needs it. */
export function colour(name: string, opacity = 1): string {
  const probe = document.createElement('i');
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  const parts = color.match(/[\d.]+/g)?.slice(0, 3).join(', ') ?? '128, 128, 128';
  return `rgba(${parts}, ${opacity})`;
}
