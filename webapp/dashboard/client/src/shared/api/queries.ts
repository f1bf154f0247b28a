/** What the page reads, one query a resource. The socket writes into the same cache. */
import { queryOptions } from '@tanstack/react-query';

import { request } from './http';
import * as model from './model';

/** Bars and metric points that are read at once; the rest arrives live. */
const HISTORY_BARS = 2_000;
const ROWS = 200;
/** Figures that the socket feeds are read again only when it asks for it. */
const LIVE = { staleTime: Infinity } as const;

export const statusQuery = queryOptions({
  queryKey: ['status'],
  queryFn: () => request('/api/status', model.status),
  ...LIVE,
});

/** Whether the person proves who they are by a code, or by the password. */
export const secondFactorQuery = queryOptions({
  queryKey: ['second-factor'],
  queryFn: () => request('/api/auth/second-factor', model.secondFactor),
});

/** What was asked to be closed last, asked for again each second until it has ended. */
export const closingsQuery = queryOptions({
  queryKey: ['closings'],
  queryFn: () => request('/api/trading/close-everything', model.closings),
  refetchInterval: ({ state }) =>
    state.data?.closings.some(({ ended_at }) => ended_at === null) === true ? 1_000 : false,
});

/** Read on its own, not through the socket: it must tell when the rest is down. */
export const healthQuery = queryOptions({
  queryKey: ['health'],
  queryFn: () => request('/api/health', model.health),
  refetchInterval: 5_000,
});

export const marketQuery = (instrument: string) =>
  queryOptions({
    queryKey: ['market', instrument],
    queryFn: async () => {
      const { instruments } = await request('/api/market-data', model.marketData);
      return instruments.find((entry) => entry.instrument === instrument) ?? null;
    },
    ...LIVE,
  });

/** Names of what may be ordered in. */
export const instrumentsQuery = queryOptions({
  queryKey: ['instruments'],
  queryFn: async () => {
    const { results } = await request('/api/instruments', model.pageOf(model.instrument));
    return results.filter(({ enabled }) => enabled).map(({ name }) => name);
  },
});

export const candlesQuery = (instrument: string, granularity: string) =>
  queryOptions({
    queryKey: ['candles', instrument, granularity],
    queryFn: () =>
      request(
        `/api/candles/${instrument}?granularity=${granularity}&limit=${HISTORY_BARS}`,
        model.candles,
      ),
    ...LIVE,
  });

export const qfhQuery = (instrument: string, granularity: string) =>
  queryOptions({
    queryKey: ['qfh', instrument, granularity],
    queryFn: () =>
      request(
        `/api/qfh/${instrument}?granularity=${granularity}&limit=${HISTORY_BARS}`,
        model.qfh,
      ),
    ...LIVE,
  });

export const signalsQuery = queryOptions({
  queryKey: ['signals'],
  queryFn: async () =>
    (await request(`/api/trading-signals?limit=${ROWS}`, model.pageOf(model.signal))).results,
  ...LIVE,
});

export const ordersQuery = queryOptions({
  queryKey: ['orders'],
  queryFn: async () =>
    (await request(`/api/orders?limit=${ROWS}`, model.pageOf(model.order))).results,
  ...LIVE,
});

export const orderQuery = (id: number) =>
  queryOptions({
    queryKey: ['order', id],
    queryFn: () => request(`/api/orders/${id}`, model.orderDetail),
  });

export const positionsQuery = queryOptions({
  queryKey: ['positions'],
  queryFn: async () => (await request('/api/positions', model.pageOf(model.position))).results,
  ...LIVE,
});

/** What the venue takes changes only with the account. */
export const brokerQuery = queryOptions({
  queryKey: ['broker'],
  queryFn: () => request('/api/broker', model.broker),
  ...LIVE,
});

export const tradesQuery = queryOptions({
  queryKey: ['trades'],
  queryFn: async () => (await request('/api/trades?limit=200', model.pageOf(model.trade))).results,
  ...LIVE,
});

export const reconciliationsQuery = queryOptions({
  queryKey: ['reconciliations'],
  queryFn: async () =>
    (await request(`/api/reconciliations?limit=${ROWS}`, model.pageOf(model.reconciliation)))
      .results,
  ...LIVE,
});

export const reconciliationQuery = (id: number) =>
  queryOptions({
    queryKey: ['reconciliation', id],
    queryFn: () => request(`/api/reconciliations/${id}`, model.reconciliationDetail),
    ...LIVE,
  });

export const performanceQuery = queryOptions({
  queryKey: ['performance'],
  queryFn: () => request('/api/performance/current', model.performance),
  ...LIVE,
});

export const equityQuery = queryOptions({
  queryKey: ['equity'],
  queryFn: () => request('/api/performance/history', model.performanceHistory),
  ...LIVE,
});
