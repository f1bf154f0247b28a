/**
 * Look at every page as a telephone shows it, use the second factor, and print what was seen.
 *
 * node pages.mjs URL USER PASSWORD CHROMIUM FOLDER
 */
import { createHmac } from 'node:crypto';
import path from 'node:path';

import { logIn, startChromium } from './chromium.mjs';

const [url, user, password, executablePath, folder] = process.argv.slice(2);
const SOON_MS = 20_000;

/** SEP's own pages and what is there once they are read; the administration's are Django's. */
const PAGES = [
  ['/', 'canvas'],
  ['/research', '.research-form'],
  ['/reconciliation', '.reconciliation tbody tr'],
  ['/second-factor', '.second-factor input'],
];
const ADMIN = ['/admin/', '/admin/trading/order/', '/admin/trading/brokeraccount/'];

const seen = { pages: {}, complaints: [] };
const browser = await startChromium(executablePath);
try {
  await visit();
} catch (error) {
  seen.failure = String(error);
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));

async function visit() {
  const context = await browser.newContext({
    viewport: { width: 390, height: 844 },
    hasTouch: true,
    isMobile: true,
  });
  const page = await context.newPage();
  page.on('pageerror', (error) => seen.complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') {
      seen.complaints.push(`${message.text()} ${message.location().url ?? ''}`);
    }
  });

  await page.goto(`${url}/login`);
  await look(page, '/login', true);
  await logIn(page, user, password);
  for (const [address, shown] of [...PAGES, [await newestOrder(page), '.order-detail']]) {
    await page.goto(url + address);
    await page.locator(shown).first().waitFor({ timeout: SOON_MS });
    await look(page, address.replace(/\d+$/, 'ID'), true);
  }
  for (const address of ADMIN) {
    await page.goto(url + address);
    await look(page, address, false);
  }
  await useSecondFactor(page);
}

async function newestOrder(page) {
  for (let end = Date.now() + 3 * SOON_MS; Date.now() < end; ) {
    const answer = await page.request.get(`${url}/api/orders?limit=1`);
    const [order] = (await answer.json()).results;
    if (order !== undefined) return `/orders/${order.id}`;
    await page.waitForTimeout(500);
  }
  throw new Error('no order was placed');
}

/** What a page says of itself, and each text that is hard to read on what is behind it. */
async function look(page, address, ours) {
  seen.pages[address] = await page.evaluate(() => ({
    width: document.documentElement.scrollWidth,
    title: document.title,
    headings: [...document.querySelectorAll('h1, h2')].filter((one) => one.offsetHeight > 0).length,
  }));
  await page.screenshot({ path: path.join(folder, `${address.replaceAll('/', '_')}.png`) });
  if (!ours) return;
  seen.pages[address].small = await page.evaluate(smallTargets);
  const faint = [];
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    faint.push(...(await page.evaluate(faintTexts)).map((text) => `${colorScheme}: ${text}`));
  }
  seen.pages[address].faint = faint;
}

/**
 * Controls that a finger hits in less than 44 pixels of height, less one at each edge. What is
 * around a control may belong to it, so points are asked and not its box.
 */
function smallTargets() {
  const controls =
    'button, select, summary, .pages a, ' +
    'input:not([type="hidden"], [type="radio"], [type="checkbox"])';
  return [...document.querySelectorAll(controls)].flatMap((element) => {
    if (!element.checkVisibility() || element.closest('.hidden, [popover]')) return [];
    element.scrollIntoView({ block: 'center' });
    const { left, top, width, height } = element.getBoundingClientRect();
    const [x, y] = [left + width / 2, top + height / 2];
    const reach = (step) => {
      let away = 0;
      while (away < 22) {
        const hit = document.elementFromPoint(x, y + step * (away + 1));
        if (!element.contains(hit)) break;
        away += 1;
      }
      return away;
    };
    const hit_px = reach(-1) + reach(1);
    return hit_px < 42 ? [`${hit_px} ${element.outerHTML.slice(0, 80)}`] : [];
  });
}

/** Texts below the contrast of WCAG 2.2, 1.4.3: 4.5 to 1. What is disabled need not reach it. */
function faintTexts() {
  const found = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim();
    const element = texts.currentNode.parentElement;
    if (text === '' || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest('script, style, noscript, svg, .hidden, option, :disabled')) continue;
    const ratio = contrast(element);
    if (ratio < 4.5) found.add(`${ratio.toFixed(2)} ${text.slice(0, 40)}`);
  }
  return [...found];

  function contrast(element) {
    let behind = [0, 0, 0, 0];
    let opacity = 1;
    for (let each = element; each !== null; each = each.parentElement) {
      const style = getComputedStyle(each);
      behind = over(behind, rgba(style.backgroundColor));
      opacity *= Number(style.opacity);
    }
    const ground = over(behind, [255, 255, 255, 1]);
    const [red, green, blue, alpha] = rgba(getComputedStyle(element).color);
    const ink = luminance(over([red, green, blue, alpha * opacity], ground));
    const paper = luminance(ground);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  }

  function rgba(colour) {
    const numbers = colour.match(/[\d.]+(?:e-?\d+)?/g).map(Number);
    const scale = colour.startsWith('color(srgb') ? 255 : 1;
    const [red, green, blue, alpha = 1] = numbers;
    return [red * scale, green * scale, blue * scale, alpha];
  }

  function over([red, green, blue, alpha], below) {
    const sum = alpha + below[3] * (1 - alpha);
    if (sum === 0) return [0, 0, 0, 0];
    const mixed = [red, green, blue].map(
      (each, index) => (each * alpha + below[index] * below[3] * (1 - alpha)) / sum,
    );
    return [...mixed, sum];
  }

  /** Relative luminance, WCAG 2.2. */
  function luminance(colour) {
    const [red, green, blue] = colour.slice(0, 3).map((each) => {
      const share = each / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }
}

/** Make it, confirm it by a code, see the recovery codes once, take it away by one of them. */
async function useSecondFactor(page) {
  await page.goto(`${url}/second-factor`);
  await page.getByLabel('Your password').fill(password);
  await page.getByRole('button', { name: 'Make a second factor' }).click();
  const code = page.getByLabel('The code that it shows now');
  await code.waitFor({ timeout: SOON_MS });
  seen.qr = await page.getByRole('img', { name: 'QR code of the second factor' }).boundingBox();
  const secret = (await page.locator('.secret').innerText()).replaceAll(' ', '');
  await page.screenshot({ path: path.join(folder, 'second-factor-begun.png') });

  await code.fill(codeOf(secret, Date.now() - 3_600_000));
  await refused(page, () => page.getByRole('button', { name: 'Confirm' }).click());
  seen.wrong_code = await page.getByRole('alert').innerText();
  await code.fill(codeOf(secret, Date.now()));
  await page.getByRole('button', { name: 'Confirm' }).click();
  const codes = page.locator('.recovery code');
  await codes.first().waitFor({ timeout: SOON_MS });
  seen.recovery_codes = await codes.allInnerTexts();
  await page.screenshot({ path: path.join(folder, 'second-factor-codes.png') });

  await page.reload();
  await page.getByText('8 recovery codes are left').waitFor({ timeout: SOON_MS });
  seen.shown_again = await page.locator('.recovery code').count();
  await page.screenshot({ path: path.join(folder, 'second-factor-made.png') });
  const proof = page.getByLabel('Its code now, or a recovery code');
  await proof.fill('0000-0000-0000-0000');
  await refused(page, () => page.getByRole('button', { name: 'Take it away' }).click());
  seen.wrong_proof = await page.getByRole('alert').innerText();
  await proof.fill(seen.recovery_codes[3]);
  await page.getByRole('button', { name: 'Take it away' }).click();
  await page.getByLabel('Your password').waitFor({ timeout: SOON_MS });
  seen.taken_away = true;
}

/** Do what is refused. The browser says so on the console; that complaint is ours. */
async function refused(page, act) {
  const before = seen.complaints.length;
  await act();
  await page.locator('[aria-invalid="true"]').waitFor({ timeout: SOON_MS });
  seen.complaints.splice(before);
}

/** The code of a secret at a time: RFC 6238, 30 s, SHA-1, six digits. */
function codeOf(secret, at_ms) {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...secret].map((one) => letters.indexOf(one).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(at_ms / 30_000)));
  const digest = createHmac('sha1', key).update(step).digest();
  const cut = digest.readUInt32BE(digest[19] & 15) & 0x7fffffff;
  return String(cut % 1_000_000).padStart(6, '0');
}
