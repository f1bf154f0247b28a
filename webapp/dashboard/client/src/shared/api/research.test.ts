import { QueryClient } from '@tanstack/react-query';
import { expect, test } from 'vitest';

import { runWith } from '../../../tests/research-samples';
import { LiveCache } from './live';
import { runQuery, runsQuery } from './research';

const ONE = 'a'.repeat(64);
const TWO = 'b'.repeat(64);

function held(): { client: QueryClient; happens: (type: string, data: unknown) => void } {
  const client = new QueryClient();
  const cache = new LiveCache(client, () => undefined);
  let seq = 0;
  return {
    client,
    happens: (type, data) => {
      seq += 1;
      cache.take({ stream: 'runs', seq, time: '2026-01-01T00:00:00Z', type, data });
    },
  };
}

test('a run appears at the top and then changes in its place', () => {
  const { client, happens } = held();
  client.setQueryData(runsQuery.queryKey, [runWith({ id: ONE })]);
  happens('run_update', runWith({ id: TWO }));
  happens('run_update', runWith({ id: ONE, state: 'RUNNING', progress: 0.5 }));
  const rows = client.getQueryData(runsQuery.queryKey);
  expect(rows?.map(({ id }) => id)).toEqual([TWO, ONE]);
  expect(rows?.[1]?.progress).toBe(0.5);
});

test('a run that is looked at is read again, for how its pieces stand', () => {
  const { client, happens } = held();
  client.setQueryData(runQuery(ONE).queryKey, {
    ...runWith({ id: ONE }),
    configuration: {},
    shards: { total: 6, done: 0, running: 0, waiting: 6, failed: 0, tried_again: 0 },
  });
  happens('run_update', runWith({ id: ONE, state: 'RUNNING' }));
  const { queryKey } = runQuery(ONE);
  expect(client.getQueryCache().find({ queryKey })?.state.isInvalidated).toBe(true);
});

test('a deleted run goes', () => {
  const { client, happens } = held();
  client.setQueryData(runsQuery.queryKey, [runWith({ id: ONE }), runWith({ id: TWO })]);
  happens('run_deleted', { id: ONE });
  expect(client.getQueryData(runsQuery.queryKey)?.map(({ id }) => id)).toEqual([TWO]);
});
