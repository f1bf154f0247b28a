import { expect, test } from 'vitest';

import { askOf, faultOf, START } from './question';

test('evidence on the sample needs nothing said', () => {
  expect(askOf(START)).toEqual({
    kind: 'evidence',
    body: { data: { sample: 'eur_usd_h1' }, surrogates: 200, seed: 0 },
  });
});

test('days of stored candles become times, the last day whole', () => {
  const range = { from: '2017-02-01', to: '2017-03-01' };
  const { body } = askOf({ ...START, source: 'candles:EUR_USD', ...range });
  expect(body.data).toEqual({
    instrument: 'EUR_USD',
    from: '2017-02-01T00:00:00Z',
    to: '2017-03-01T23:59:59Z',
  });
});

test('a data set is taken whole', () => {
  const { body } = askOf({ ...START, source: 'stored:gbpusd', from: '2017-02-01' });
  expect(body.data).toEqual({ stored: 'gbpusd' });
});

test('one rule of my own is a list of one', () => {
  const { body } = askOf({ ...START, family: 'own', rules: '{"window": 16}', spread_pips: '1.0' });
  expect(body).toMatchObject({ rules: [{ window: 16 }], spread_pips: '1.0' });
});

test('a grid is judged whole', () => {
  const { body } = askOf({ ...START, family: 'grid', grid: '{"window": [16, 32]}' });
  expect(body).toMatchObject({ grid: { window: [16, 32] } });
  expect(body).not.toHaveProperty('rules');
});

test('text that is no JSON is a fault before anything is asked', () => {
  const begun = '{"window": [16';
  expect(faultOf({ ...START, kind: 'sweep', grid: begun })).toBe('This is not JSON yet.');
  // It is not what is asked for, so it does no harm.
  expect(faultOf({ ...START, grid: '{"window": [16' })).toBeNull();
});

test('hours and the entry are asked for when they are said', () => {
  const said = { ...START, session: ' mon-fri 08:00-17:00 Europe/London ', entry: 'close' };
  const hours = { session: 'mon-fri 08:00-17:00 Europe/London' };
  expect(askOf(said).body).toMatchObject({ ...hours, entry: 'close' });
  expect(askOf({ ...said, kind: 'backtest' }).body).toMatchObject({ ...hours, entry: 'close' });
  // A grid holds its entries itself.
  const grid = askOf({ ...said, family: 'grid' }).body;
  expect(grid).toMatchObject(hours);
  expect(grid).not.toHaveProperty('entry');
  const sweep = askOf({ ...said, kind: 'sweep' }).body;
  expect(sweep).toMatchObject(hours);
  expect(sweep).not.toHaveProperty('entry');
});
