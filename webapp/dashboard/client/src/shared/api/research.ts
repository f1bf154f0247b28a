/** Runs of the lab: what the API says of them, and how to ask for them. */
import { queryOptions, type QueryClient } from '@tanstack/react-query';
import { z } from 'zod';

import { request } from './http';
import { pageOf } from './model';

const instant = z.iso.datetime({ offset: true });

export const runKind = z.enum(['evidence', 'backtest', 'sweep']);
export type RunKind = z.infer<typeof runKind>;

export const runState = z.enum(['QUEUED', 'RUNNING', 'DONE', 'FAILED', 'CANCELLED']);
export type RunState = z.infer<typeof runState>;

const figure = z.object({ name: z.string(), value: z.number().nullable(), unit: z.string() });
export type Figure = z.infer<typeof figure>;

export const run = z.object({
  id: z.string(),
  kind: runKind,
  name: z.string(),
  data: z.object({
    sample: z.string().optional(),
    stored: z.string().optional(),
    instrument: z.string().optional(),
    granularity: z.string().optional(),
    from: instant.optional(),
    to: instant.optional(),
    source: z.string().optional(),
    price_side: z.string(),
    bars: z.number(),
  }),
  data_sha256: z.string(),
  code_version: z.string(),
  seed: z.number(),
  strategy: z.object({ id: z.number(), name: z.string() }).nullable(),
  state: runState,
  progress: z.number(),
  edge: z.boolean().nullable(),
  result_text: z.string(),
  error: z.string(),
  sections: z.array(z.object({ name: z.string(), text: z.string() })),
  figures: z.array(figure),
  requested_by: z.string().nullable(),
  created_at: instant,
  started_at: instant.nullable(),
  finished_at: instant.nullable(),
});
export type Run = z.infer<typeof run>;

export const runDetail = run.extend({
  configuration: z.unknown(),
  shards: z.object({
    total: z.number(),
    done: z.number(),
    running: z.number(),
    waiting: z.number(),
    failed: z.number(),
    tried_again: z.number(),
  }),
});
export type RunDetail = z.infer<typeof runDetail>;

export const compared = z.object({
  runs: z.array(run),
  figures: z.array(
    z.object({ name: z.string(), unit: z.string(), values: z.array(z.number().nullable()) }),
  ),
});

export const dataSets = z.object({
  data_sets: z.array(
    z.object({
      name: z.string(),
      instrument: z.string(),
      granularity: z.string(),
      bars: z.number(),
      synthetic: z.boolean(),
    }),
  ),
});

/** Whether a strategy may open positions on its account, and what people said about it. */
export const liveGate = z.object({
  allowed: z.boolean(),
  reason: z.string(),
  verdict: z.string(),
  verdict_text: z.string(),
  in_force: z.number().nullable(),
  overrides: z.array(
    z.object({
      id: z.number(),
      reason: z.string(),
      made_by: z.string(),
      created_at: instant,
      withdrawn_by: z.string(),
      withdrawn_at: instant.nullable(),
    }),
  ),
});
export type LiveGate = z.infer<typeof liveGate>;

const runDeleted = z.object({ id: z.string() });

const ROWS = 200;
const LIVE = { staleTime: Infinity } as const;

export const runsQuery = queryOptions({
  queryKey: ['runs'],
  queryFn: async () => (await request(`/api/runs?limit=${ROWS}`, pageOf(run))).results,
  ...LIVE,
});

export const runQuery = (id: string) =>
  queryOptions({
    queryKey: ['run', id],
    queryFn: () => request(`/api/runs/${id}`, runDetail),
    ...LIVE,
  });

export const dataSetsQuery = queryOptions({
  queryKey: ['data-sets'],
  queryFn: async () => (await request('/api/data-sets', dataSets)).data_sets,
});

export const comparedQuery = (ids: string[]) =>
  queryOptions({
    queryKey: ['compared', ...ids],
    queryFn: () => request(`/api/runs/compare?ids=${ids.join(',')}`, compared),
  });

export const liveGateQuery = (strategy: number) =>
  queryOptions({
    queryKey: ['live-gate', strategy],
    queryFn: () => request(`/api/strategies/${strategy}/live-gate`, liveGate),
  });

/** @param override.confirmation  the strategy's name, typed by a person. */
export function makeOverride(strategy: number, override: OverrideAsk): Promise<unknown> {
  return request(`/api/strategies/${strategy}/live-gate`, z.unknown(), {
    method: 'POST',
    body: override,
  });
}

export function withdrawOverrides(strategy: number): Promise<LiveGate> {
  return request(`/api/strategies/${strategy}/live-gate`, liveGate, { method: 'DELETE' });
}

/** @param session  such as "mon-fri 08:00-17:00 Europe/London"; empty: it enters at any time. */
export function setSession(strategy: number, session: string): Promise<unknown> {
  return request(`/api/strategies/${strategy}/session`, z.unknown(), {
    method: 'PUT',
    body: { session },
  });
}

/** Write an event about a run into the cache; false when it does not read as one. */
export function writeRun(client: QueryClient, data: unknown): boolean {
  const { success, data: told } = run.safeParse(data);
  if (!success) return false;
  client.setQueryData(runsQuery.queryKey, (rows) => {
    if (rows === undefined) return undefined;
    const known = rows.findIndex(({ id }) => id === told.id);
    return known >= 0 ? rows.with(known, told) : [told, ...rows].slice(0, ROWS);
  });
  // How its pieces stand is the run's own to say.
  void client.invalidateQueries({ queryKey: ['run', told.id] });
  return true;
}

/** Take a deleted run out of the cache. */
export function dropRun(client: QueryClient, data: unknown): boolean {
  const { success, data: told } = runDeleted.safeParse(data);
  if (!success) return false;
  client.setQueryData(runsQuery.queryKey, (rows) => rows?.filter(({ id }) => id !== told.id));
  return true;
}

export type RunData =
  | { sample: string }
  | { stored: string }
  | { instrument: string; from?: string; to?: string };

/** At which price of the bar after a decision a position is entered. */
export type Entry = 'open' | 'close';

export type EvidenceAsk = {
  data?: RunData;
  session?: string | null;
  entry?: Entry;
  strategy?: number;
  rules?: unknown[];
  grid?: unknown;
  spread_pips?: string | null;
  surrogates?: number;
  folds?: number;
  seed?: number;
};
export type BacktestAsk = {
  data?: RunData;
  session?: string | null;
  entry?: Entry;
  rule?: unknown;
  spread_pips?: string | null;
  cost_pips?: string | null;
};
export type SweepAsk = {
  data?: RunData;
  session?: string | null;
  grid: unknown;
  spread_pips?: string | null;
  cost_pips?: string | null;
};

export type OverrideAsk = { reason: string; confirmation: string };

export type RunAsk =
  | { kind: 'evidence'; body: EvidenceAsk }
  | { kind: 'backtest'; body: BacktestAsk }
  | { kind: 'sweep'; body: SweepAsk };

const ADDRESSES: Record<RunKind, string> = {
  evidence: '/api/evidence',
  backtest: '/api/backtests',
  sweep: '/api/sweeps',
};

/** @param key  the same for every attempt at the same question. */
export function startRun({ kind, body }: RunAsk, key: string): Promise<Run> {
  return request(ADDRESSES[kind], run, {
    method: 'POST',
    body,
    headers: { 'Idempotency-Key': key },
  });
}

export function cancelRun(id: string): Promise<Run> {
  return request(`/api/runs/${id}/cancel`, run, { method: 'POST', body: {} });
}

export function deleteRun(id: string): Promise<unknown> {
  return request(`/api/runs/${id}`, z.unknown(), { method: 'DELETE' });
}
