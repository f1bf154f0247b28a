import { expect, test } from 'vitest';

import { decimalText, type EquityPoint } from '../../shared/api/model';
import { thisPass } from './equity-points';

const point = (hour: string, equity: string): EquityPoint => ({
  time: `2017-05-01T${hour}:00:00Z`,
  created_at: '2026-01-01T00:00:00Z',
  equity: decimalText.parse(equity),
  balance: decimalText.parse(equity),
});

test('points before the replay was started again are left out', () => {
  const points = [point('08', '100'), point('20', '105'), point('06', '100'), point('07', '99')];
  expect(thisPass(points).map(({ equity }) => equity)).toEqual(['100', '99']);
});

test('of two points at one market time the later one counts', () => {
  const points = [point('06', '100'), point('07', '101'), point('07', '102')];
  expect(thisPass(points).map(({ equity }) => equity)).toEqual(['100', '102']);
});

test('no points make no line', () => {
  expect(thisPass([])).toEqual([]);
});
