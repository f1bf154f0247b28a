// @vitest-environment happy-dom
import { expect, test } from 'vitest';

import { buttonNamed, click, enter, find, render, serve } from '../../../tests/render';
import { HoursButton } from './hours';

const STRATEGY = { id: 3, name: 'default', session: 'mon-fri 08:00-17:00 Europe/London' };

test('hours that are none are refused in words, and others are set', async () => {
  const calls = serve(() =>
    calls.length === 1
      ? {
          status: 400,
          body: { code: 'invalid', message: 'No.', fields: { session: ['hours are days'] } },
        }
      : { body: STRATEGY },
  );
  const place = await render(<HoursButton strategy={STRATEGY} />);
  await click(buttonNamed(place, 'Hours'));
  const field = place.querySelector('input');
  if (field === null) throw new Error('hours are asked for');
  expect(field.value).toBe('mon-fri 08:00-17:00 Europe/London');
  expect(buttonNamed(place, 'Set the hours')).toHaveProperty('disabled', true);
  await enter(field, 'after lunch');
  await click(buttonNamed(place, 'Set the hours'));
  expect(find(place, '[role=alert]').textContent).toBe('Enter only within: hours are days.');
  await enter(field, '');
  await click(buttonNamed(place, 'Set the hours'));
  expect(calls[1]).toMatchObject({
    method: 'PUT',
    path: '/api/strategies/3/session',
    body: { session: '' },
  });
  expect(place.querySelector('form')).toBeNull();
});
