import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { ApiError } from '../shared/api/http';
import { App } from './app';
import { Failure } from './failure';
import './app.css';

const RETRIES_MAX = 3;
const WAIT_MAX_MS = 8_000;

const client = new QueryClient({
  defaultOptions: {
    queries: {
      // A refusal stays one; what did not answer may answer soon.
      retry: (failures, error) =>
        failures < RETRIES_MAX && !(error instanceof ApiError && error.status in REFUSALS),
      retryDelay: (attempt) => Math.min(WAIT_MAX_MS, 500 * 2 ** attempt),
      refetchOnWindowFocus: false,
      // The browser's word for "online" is about its network, not about this server.
      networkMode: 'always',
    },
    mutations: { networkMode: 'always' },
  },
});

const REFUSALS: Record<number, true> = { 400: true, 401: true, 403: true, 404: true, 422: true };

const page = document.getElementById('page');
if (page !== null) {
  const { user = '', staff } = page.dataset;
  createRoot(page).render(
    <StrictMode>
      <QueryClientProvider client={client}>
        <Failure>
          <App user={user} staff={staff === 'yes'} />
        </Failure>
      </QueryClientProvider>
    </StrictMode>,
  );
}
