/** As samples.ts, for runs of the lab. */
import * as research from '../src/shared/api/research';

export function runWith(change: Record<string, unknown>): research.Run {
  return research.run.parse({
    id: 'a'.repeat(64),
    kind: 'evidence',
    name: '145 rules on eur_usd_h1',
    data: { sample: 'eur_usd_h1', price_side: 'ask', bars: 6225 },
    data_sha256: 'd'.repeat(64),
    code_version: '0.1.0+abc',
    seed: 0,
    strategy: null,
    state: 'QUEUED',
    progress: 0,
    edge: null,
    result_text: '',
    error: '',
    sections: [],
    figures: [],
    requested_by: 'alice',
    created_at: '2026-01-01T00:00:00Z',
    started_at: null,
    finished_at: null,
    ...change,
  });
}
