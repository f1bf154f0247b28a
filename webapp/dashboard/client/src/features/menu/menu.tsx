import { useRef } from 'react';

import { csrfToken } from '../../shared/api/http';
import { chooseTheme, useTheme, type Theme } from '../../shared/theme';
import { Link } from '../../shared/route';
import './menu.css';

const THEMES: Record<Theme, string> = { system: 'System', light: 'Light', dark: 'Dark' };
const NAMES = ['system', 'light', 'dark'] as const;

type MenuProps = { user: string; staff: boolean };

/** Theme, the other pages of SEP, and the way out. */
export function Menu({ user, staff }: MenuProps) {
  const theme = useTheme();
  const token = useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" className="quiet" popoverTarget="menu" aria-label="Menu">
        <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
          <path d="M2 4h12M2 8h12M2 12h12" stroke="currentColor" strokeWidth="1.5" />
        </svg>
      </button>
      <div id="menu" popover="auto" className="menu">
        <p>
          Logged in as <b>{user}</b>
        </p>
        <fieldset>
          <legend>Theme</legend>
          {NAMES.map((name) => (
            <label key={name}>
              <input
                type="radio"
                name="theme"
                checked={theme === name}
                onChange={() => {
                  chooseTheme(name);
                }}
              />
              {THEMES[name]}
            </label>
          ))}
        </fieldset>
        <Link to="/second-factor">Second factor</Link>
        {staff ? <a href="/admin/">Administration</a> : null}
        <a href="/api/schema">API description</a>
        <a href="https://www.tradingview.com/" rel="noreferrer" target="_blank">
          Charts by TradingView
        </a>
        <form
          method="post"
          action="/logout"
          onSubmit={() => {
            if (token.current !== null) token.current.value = csrfToken();
          }}
        >
          <input ref={token} type="hidden" name="csrfmiddlewaretoken" />
          <button type="submit">Log out</button>
        </form>
      </div>
    </>
  );
}
