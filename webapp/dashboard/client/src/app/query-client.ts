import { QueryCache, QueryClient } from '@tanstack/react-query';

import { ApiError } from '../shared/api/http';
import { notify } from '../shared/notices';

const RETRIES_MAX = 3;
const WAIT_MAX_MS = 8_000;
const REFUSALS: ReadonlySet<number> = new Set([400, 401, 403, 404, 422]);

export function newQueryClient(): QueryClient {
  return new QueryClient({
    queryCache: new QueryCache({
      onError: (error) => {
        // A panel goes on showing what it has, and the socket may live on: say that it grows old.
        if (error instanceof ApiError && error.status === 401) notify('error', error.message);
      },
    }),
    defaultOptions: {
      queries: {
        // A refusal stays one; what did not answer may answer soon.
        retry: (failures, error) =>
          failures < RETRIES_MAX && !(error instanceof ApiError && REFUSALS.has(error.status)),
        retryDelay: (attempt) => Math.min(WAIT_MAX_MS, 500 * 2 ** attempt),
        refetchOnWindowFocus: false,
        // The browser's word for "online" is about its network, not about this server.
        networkMode: 'always',
      },
      mutations: { networkMode: 'always' },
    },
  });
}
