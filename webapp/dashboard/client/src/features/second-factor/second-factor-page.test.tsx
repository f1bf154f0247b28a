// @vitest-environment happy-dom
import { expect, test } from 'vitest';

import { buttonNamed, click, enter, find, render, serve } from '../../../tests/render';
import { SecondFactorPage } from './second-factor-page';

const begun = {
  uri: 'otpauth://totp/SEP',
  secret: 'JBSWY3DPEHPK',
  qr: { size: 45, path: 'M4 4.5h7' },
};

test('it is made with the password and a first code, and tells recovery codes once', async () => {
  let enrolled = false;
  const calls = serve(({ path, method }) => {
    if (path.endsWith('/confirm')) {
      enrolled = true;
      return { body: { enrolled: true, recovery_codes: ['aaaa-bbbb', 'cccc-dddd'] } };
    }
    if (method === 'POST') return { body: begun };
    return { body: { enrolled, recovery_codes_left: enrolled ? 2 : 0 } };
  });
  const place = await render(<SecondFactorPage />);
  await enter(find(place, 'input'), 'correct horse');
  await click(buttonNamed(place, 'Make a second factor'));
  expect(place.querySelector('svg[role="img"]')?.getAttribute('viewBox')).toBe('0 0 45 45');
  expect(place.textContent).toContain('JBSW Y3DP EHPK');
  await enter(find(place, 'input'), '123456');
  await click(buttonNamed(place, 'Confirm'));
  expect(calls.map(({ body }) => body)).toContainEqual({ code: '123456' });
  expect(place.textContent).toContain('aaaa-bbbb');
  await click(buttonNamed(place, 'I have kept them'));
  expect(place.textContent).not.toContain('aaaa-bbbb');
  expect(place.textContent).toContain('2 recovery codes are left');
});

test('a wrong code says so at its field and takes nothing away', async () => {
  const fields = { proof: ['The code is wrong.'] };
  serve(({ method }) =>
    method === 'POST'
      ? { status: 400, body: { code: 'invalid', message: 'No.', fields } }
      : { body: { enrolled: true, recovery_codes_left: 8 } },
  );
  const place = await render(<SecondFactorPage />);
  await enter(find(place, 'input'), '000000');
  await click(buttonNamed(place, 'Take it away'));
  const input = find(place, 'input');
  expect(input.getAttribute('aria-invalid')).toBe('true');
  const said = input.getAttribute('aria-describedby') ?? '';
  expect(document.getElementById(said)?.textContent).toBe('The code is wrong.');
});
