// @vitest-environment happy-dom
import { beforeEach, expect, test } from 'vitest';

import { buttonNamed, click, find, render, serve, type Call } from '../../../tests/render';
import { runWith } from '../../../tests/research-samples';
import { statusWith } from '../../../tests/samples';
import { go } from '../../shared/route';
import { ResearchPage } from './research-page';

const ONE = 'a'.repeat(64);
const TWO = 'b'.repeat(64);

function page(rows: unknown[]) {
  return { count: rows.length, next: null, previous: null, results: rows };
}

function detail(change: Record<string, unknown>) {
  return {
    ...runWith(change),
    configuration: { surrogates: 200 },
    shards: { total: 6, done: 2, running: 1, waiting: 3, failed: 0, tried_again: 1 },
  };
}

beforeEach(() => {
  go('/research');
});

test('without runs the page says what to do', async () => {
  serve(() => ({ body: page([]) }));
  const place = await render(<ResearchPage status={statusWith({})} />);
  expect(place.textContent).toContain('Nothing was asked of the lab yet.');
});

test('each run shows its answer; no edge is no error', async () => {
  serve(() => ({
    body: page([
      runWith({ id: ONE, state: 'DONE', edge: false, result_text: 'No evidence of edge.' }),
      runWith({ id: TWO, state: 'FAILED', error: 'its worker died 3 times' }),
    ]),
  }));
  const place = await render(<ResearchPage status={statusWith({})} />);
  const [first, second] = place.querySelectorAll('tbody tr');
  expect(first?.querySelector('.chip')?.className).toBe('chip');
  expect(first?.textContent).toContain('no edge');
  expect(second?.querySelector('.chip')?.className).toBe('chip bad');
  expect(second?.textContent).toContain('its worker died 3 times');
});

test('a run that is computed shows how far it is and can be cancelled', async () => {
  const calls = serve(() => ({ body: detail({ id: ONE, state: 'RUNNING', progress: 0.4 }) }));
  go(`/research/${ONE}`);
  const place = await render(<ResearchPage status={statusWith({})} />);
  expect(place.textContent).toContain('40 %');
  expect(place.textContent).toContain('2 of 6 pieces done, 1 under way, 1 taken again.');
  await click(buttonNamed(place, 'Cancel'));
  expect(calls.at(-1)?.path).toBe(`/api/runs/${ONE}/cancel`);
});

test('a finished run shows figures, sections and where its page is', async () => {
  serve(() => ({
    body: detail({
      id: ONE,
      state: 'DONE',
      edge: false,
      figures: [{ name: 'net a trade', value: -0.84, unit: 'pips' }],
      sections: [{ name: 'causality', text: 'passed: 1,000 cuts' }],
    }),
  }));
  go(`/research/${ONE}`);
  const place = await render(<ResearchPage status={statusWith({})} />);
  expect(place.textContent).toContain('-0.84 pips');
  expect(place.textContent).toContain('passed: 1,000 cuts');
  expect(find(place, 'a.button').getAttribute('href')).toBe(`/api/runs/${ONE}/page`);
});

test('a question is asked once with a key, and its run is shown', async () => {
  const answer = ({ method }: Call) =>
    method === 'POST' ? { status: 202, body: runWith({ id: ONE }) } : { body: page([]) };
  const calls = serve(answer);
  const place = await render(<ResearchPage status={statusWith({})} />);
  await click(buttonNamed(place, 'Start evidence'));
  const asked = calls.find(({ method }) => method === 'POST');
  expect(asked?.path).toBe('/api/evidence');
  expect(asked?.body).toMatchObject({ data: { sample: 'eur_usd_h1' } });
  expect(asked?.headers.get('Idempotency-Key')).toMatch(/^[0-9a-f]{32}$/);
  expect(location.pathname).toBe(`/research/${ONE}`);
});

test('what is wrong is told at its field', async () => {
  serve(({ method }) =>
    method === 'POST'
      ? {
          status: 400,
          body: {
            code: 'invalid',
            message: 'Some fields are not valid.',
            fields: { 'rules.0.window': ['window must be a whole number in 8..1024, was 4'] },
          },
        }
      : { body: page([]) },
  );
  const place = await render(<ResearchPage status={statusWith({})} />);
  await click(buttonNamed(place, 'Start evidence'));
  expect(find(place, '[role="alert"]').textContent).toContain(
    'rules.0.window: window must be a whole number in 8..1024, was 4',
  );
});

test('chosen runs stand side by side', async () => {
  const rows = [ONE, TWO].map((id, seed) => runWith({ id, seed, state: 'DONE', edge: false }));
  serve(({ path }) =>
    path.startsWith('/api/runs/compare')
      ? { body: { runs: rows, figures: [{ name: 'trades', unit: '', values: [12, null] }] } }
      : { body: page(rows) },
  );
  const place = await render(<ResearchPage status={statusWith({})} />);
  for (const box of place.querySelectorAll('input[type="checkbox"]')) {
    if (box instanceof HTMLElement) await click(box);
  }
  await click(buttonNamed(place, 'Compare 2'));
  expect(location.search).toBe(`?ids=${ONE},${TWO}`);
  const cells = [...place.querySelectorAll('tbody td')].map(({ textContent }) => textContent);
  // The seed is all that they were asked differently by.
  expect(cells).toEqual(['0', '1', '12', '–']);
});
