// @vitest-environment happy-dom
import { useQuery } from '@tanstack/react-query';
import { expect, test } from 'vitest';

import { buttonNamed, click, render, serve } from '../../tests/render';
import { positionWith } from '../../tests/samples';
import { Told, toldIn } from '../../tests/told';
import { positionsQuery } from '../shared/api/queries';
import { newQueryClient } from './query-client';

function Held() {
  const { data, refetch } = useQuery(positionsQuery);
  return (
    <button type="button" onClick={() => void refetch()}>
      {data === undefined ? 'nothing' : `${data.length} held`}
    </button>
  );
}

test('who is logged out while data is shown is told once that it grows old', async () => {
  let loggedOut = false;
  serve(() =>
    loggedOut
      ? { status: 401, body: { code: 'not_authenticated', message: 'No.' } }
      : { body: { count: 1, next: null, previous: null, results: [positionWith({})] } },
  );
  const place = await render(
    <>
      <Held />
      <Told />
    </>,
    newQueryClient(),
  );
  expect(toldIn(place)).toEqual([]);
  loggedOut = true;
  await click(buttonNamed(place, '1 held'));
  await click(buttonNamed(place, '1 held'));
  expect(toldIn(place)).toEqual([
    'error: You are logged out. Log in again in another tab: ' +
      'until then what is shown here grows old.',
  ]);
});
