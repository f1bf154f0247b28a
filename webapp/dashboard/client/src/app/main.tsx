import { QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { App } from './app';
import { Failure } from './failure';
import { newQueryClient } from './query-client';
import './app.css';

const page = document.getElementById('page');
if (page !== null) {
  const { user = '', staff } = page.dataset;
  createRoot(page).render(
    <StrictMode>
      <QueryClientProvider client={newQueryClient()}>
        <Failure>
          <App user={user} staff={staff === 'yes'} />
        </Failure>
      </QueryClientProvider>
    </StrictMode>,
  );
}
