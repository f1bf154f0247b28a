/** What the page told in notices. Each test begins without any. */
import { act } from 'react';
import { afterEach } from 'vitest';

import { dismiss, useNotices } from '../src/shared/notices';
import { find } from './render';

export function Told() {
  const notices = useNotices();
  return (
    <form
      className="told"
      onSubmit={() => {
        for (const { id } of notices) dismiss(id);
      }}
    >
      {notices.map(({ id, level, text }) => (
        <p key={id}>{`${level}: ${text}`}</p>
      ))}
    </form>
  );
}

export function toldIn(place: HTMLElement): (string | null)[] {
  return [...find(place, '.told').querySelectorAll('p')].map(({ textContent }) => textContent);
}

afterEach(() => {
  act(() => {
    document.querySelector('.told')?.dispatchEvent(new Event('submit', { bubbles: true }));
  });
});
