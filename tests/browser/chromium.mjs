/** Start Chromium as each visit uses it: no sandbox in a container, nothing of other hosts. */
import { createRequire } from 'node:module';

const client = new URL('../../webapp/dashboard/client/package.json', import.meta.url);
const { chromium } = createRequire(client)('playwright-core');

export function startChromium(executablePath) {
  return chromium.launch({
    executablePath,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

export async function logIn(page, user, password) {
  await page.getByLabel('User name').fill(user);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.waitForLoadState();
}
