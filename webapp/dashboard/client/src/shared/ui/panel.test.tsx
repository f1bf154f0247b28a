// @vitest-environment happy-dom
import { useQuery } from '@tanstack/react-query';
import { act } from 'react';
import { expect, test, vi } from 'vitest';

import { buttonNamed, click, find, render } from '../../../tests/render';
import { ApiError } from '../api/http';
import { setStanding } from '../stream/connection-store';
import { Answer, Panel } from './panel';

function Fruit({ read }: { read: () => Promise<string[]> }) {
  const query = useQuery({ queryKey: ['fruit'], queryFn: read });
  return (
    <Panel title="Fruit" view="fruit">
      <Answer query={query} what="fruit" empty={(all) => (all.length === 0 ? 'No fruit.' : null)}>
        {(all) => <p>{all.join()}</p>}
      </Answer>
    </Panel>
  );
}

test('a panel says that it is reading', async () => {
  const place = await render(<Fruit read={() => new Promise(() => undefined)} />);
  expect(find(place, '[role="status"]').textContent).toBe('Reading the fruit');
});

test('a panel says why it could not read, and tries again when asked', async () => {
  const read = vi.fn(() => Promise.reject(new Error('The server could not be reached.')));
  const place = await render(<Fruit read={read} />);
  expect(find(place, '[role="alert"]').textContent).toContain(
    'The fruit could not be read. The server could not be reached.',
  );
  await click(buttonNamed(place, 'Try again'));
  expect(read).toHaveBeenCalledTimes(2);
});

test('what does not exist is not asked for again', async () => {
  const missing = new ApiError(404, 'not_found', 'There is no fruit 7.');
  const place = await render(<Fruit read={() => Promise.reject(missing)} />);
  expect(find(place, '[role="alert"]').textContent).toBe(
    'The fruit could not be read. There is no fruit 7.',
  );
  expect(place.querySelector('button')).toBeNull();
});

test('a panel says that there is nothing', async () => {
  const place = await render(<Fruit read={() => Promise.resolve([])} />);
  expect(place.textContent).toContain('No fruit.');
});

test('a panel shows its data, and how old it is once the connection is lost', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000 });
  setStanding({ connection: { state: 'live' } });
  const place = await render(<Fruit read={() => Promise.resolve(['fig'])} />);
  expect(place.textContent).toBe('Fruitfig');

  act(() => {
    setStanding({
      connection: { state: 'reconnecting', attempt: 2, retryAt: 1_001_000 },
      lastHeardAt: () => 1_000_000 - 14_000,
    });
  });
  expect(find(place, '.stale-mark').textContent).toBe('stale, 14 s');
  vi.useRealTimers();
});
