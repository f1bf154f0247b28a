// node screenshot.mjs URL USERNAME PASSWORD FILE WIDTH HEIGHT: log in and photograph the live page.
import { createRequire } from 'node:module';
import process from 'node:process';

const client = new URL('../webapp/dashboard/client/package.json', import.meta.url);
const { chromium } = createRequire(client)('playwright-core');

const [url, username, password, file, width, height] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
});
try {
  const page = await browser.newPage({
    viewport: { width: Number(width), height: Number(height) },
    colorScheme: 'dark',
  });
  const faults = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') faults.push(`${message.text()} ${message.location().url}`);
  });
  await page.goto(`${url}/login`);
  await page.fill('input[name=username]', username);
  await page.fill('input[name=password]', password);
  await page.click('button[type=submit]');
  await page.waitForSelector('canvas');
  await page.waitForTimeout(4000); // a few bars arrive over the socket
  await page.screenshot({ path: file });
  if (faults.length > 0) throw new Error(`the page reported errors:\n${faults.join('\n')}`);
} finally {
  await browser.close();
}
