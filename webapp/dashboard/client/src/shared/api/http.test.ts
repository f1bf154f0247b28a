// @vitest-environment happy-dom
import { afterEach, expect, test, vi } from 'vitest';
import { z } from 'zod';

import { serve } from '../../../tests/render';
import { request } from './http';

afterEach(() => {
  document.cookie = 'csrftoken=; max-age=0';
  document.body.replaceChildren();
});

function pageWith(token: string) {
  const page = document.createElement('div');
  page.id = 'page';
  page.dataset.csrf = token;
  document.body.append(page);
}

test('a request carries the token of the last login, perhaps in another tab', async () => {
  const calls = serve(() => ({ body: {} }));
  pageWith('of-this-page');
  await request('/api/x', z.unknown(), { method: 'POST' });
  document.cookie = 'csrftoken=of-the-other-tab';
  await request('/api/x', z.unknown(), { method: 'POST' });
  expect(calls.map(({ headers }) => headers.get('X-CSRFToken'))).toEqual([
    'of-this-page',
    'of-the-other-tab',
  ]);
});

test('who is logged out is told what to do, and that nothing typed is lost', async () => {
  serve(() => ({ status: 401, body: { code: 'not_authenticated', message: 'No credentials.' } }));
  await expect(request('/api/x', z.unknown(), { method: 'POST' })).rejects.toThrow(
    'You are logged out. Log in again in another tab, then press once more',
  );
  await expect(request('/api/x', z.unknown())).rejects.toThrow('what is shown here grows old');
});

test('an answer that is late is not taken for a request that was never heard', async () => {
  const late = new DOMException('', 'TimeoutError');
  vi.stubGlobal('fetch', () => Promise.reject(late));
  await expect(request('/api/x', z.unknown(), { method: 'POST' })).rejects.toThrow(
    'No answer came within 10 s; it may have been done all the same.',
  );
  await expect(request('/api/x', z.unknown())).rejects.toThrow(/^No answer came within 10 s\.$/);
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('network')));
  await expect(request('/api/x', z.unknown())).rejects.toThrow('The server could not be reached.');
  const keyed = { method: 'POST', headers: { 'Idempotency-Key': 'k' } } as const;
  await expect(request('/api/x', z.unknown(), keyed)).rejects.toThrow(
    'The server could not be reached. Pressing again does not do it twice.',
  );
});
