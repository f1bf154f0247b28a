/**
 * Use the page as a person does, and print what was seen as one JSON object.
 *
 * node visit.mjs URL USER PASSWORD CHROMIUM FOLDER
 *
 * The browser reaches SEP through a relay of this process, so that the network can be pulled: while
 * it is cut, connections stay open and say nothing, as they do behind a pulled cable.
 */
import net from 'node:net';
import path from 'node:path';

import { logIn, startChromium } from './chromium.mjs';

const [url, user, password, executablePath, folder] = process.argv.slice(2);

const CUT_MS = 20_000;
/** What the page does by itself in seconds, on a machine that is busy with more urgent work. */
const FIRST_MS = 150_000;
const SOON_MS = 60_000;
/** A run is computed at low priority, so a busy machine makes it wait. */
const ANSWER_MS = 400_000;

const relay = await startRelay(new URL(url).port);
const base = `http://localhost:${relay.port}`;
const browser = await startChromium(executablePath);

const seen = { complaints: [], foreign: [], requests: [], events: [] };
try {
  await visit();
} catch (error) {
  seen.failure = String(error);
} finally {
  await browser.close();
  relay.stop();
}
console.log(JSON.stringify(seen));

async function visit() {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  watch(page);

  await page.goto(base);
  seen.asked_to_log_in = new URL(page.url()).pathname === '/login';
  await logIn(page, user, 'not the password');
  seen.wrong_password = await page.getByRole('alert').innerText();
  await logIn(page, user, password);
  await page.getByText('Live', { exact: true }).waitFor({ timeout: SOON_MS });

  // The tab key follows the document.
  seen.ticket_is_before_activity = await page.evaluate(() => {
    const ticket = document.querySelector('.ticket');
    const order = ticket.compareDocumentPosition(document.querySelector('.activity'));
    return (order & Node.DOCUMENT_POSITION_FOLLOWING) !== 0;
  });

  const first = await barsShown(page);
  await until(async () => (await barsShown(page)) >= first + 2, SOON_MS, 'two new bars');
  seen.candles_follow = (await barsShown(page)) - first;

  const started = Date.now();
  await rowsOf(page, 'Signals').first().waitFor({ timeout: FIRST_MS });
  seen.first_signal_s = (Date.now() - started) / 1000;
  const equity = await page.locator('.equity').innerText();
  await rowsOf(page, 'Fills').first().waitFor({ timeout: FIRST_MS });
  seen.first_fill_s = (Date.now() - started) / 1000;
  await until(
    async () => (await page.locator('.equity').innerText()) !== equity,
    FIRST_MS,
    'a changed equity',
  );
  seen.equity_changed = true;
  seen.verdict = await page.locator('.verdict').innerText();
  await until(
    async () => (await page.locator('.processes [data-status="up"]').count()) === 7,
    SOON_MS,
    'seven processes that are up',
  );
  seen.processes = await page.locator('.processes li b').allInnerTexts();

  await orderTooMuch(page);
  await loseNetwork(page);
  await page.screenshot({ path: path.join(folder, 'wide.png') });
  await askTheLab(page).catch((error) => {
    seen.lab_failure = String(error);
  });
  await visitNarrow(context);
}

/** Remember what must not happen anywhere, and every event that the sockets bring. */
function watch(page) {
  page.on('console', (message) => {
    const about = message.location().url ?? '';
    // The wrong password is ours; what the cut network breaks is, too.
    if (message.type() !== 'error' || relay.isCut) return;
    seen.complaints.push(`${message.text()} ${about}`);
  });
  page.on('pageerror', (error) => seen.complaints.push(String(error)));
  page.on('request', (request) => {
    const { host, pathname } = new URL(request.url());
    if (host !== `localhost:${relay.port}` && !request.url().startsWith('data:')) {
      seen.foreign.push(request.url());
    }
    seen.requests.push({ at: Date.now(), path: pathname });
  });
  page.on('websocket', (socket) => {
    socket.on('framereceived', ({ payload }) => {
      const { stream, seq } = JSON.parse(payload);
      if (typeof seq === 'number' && stream) seen.events.push({ stream, seq });
    });
  });
}

async function barsShown(page) {
  const label = await page.locator('.chart-canvas').getAttribute('aria-label');
  return Number(label.split(' ')[0]);
}

function rowsOf(page, tab) {
  void page.getByRole('tab', { name: tab }).click();
  return page.locator('[role="tabpanel"] tbody tr');
}

async function orderTooMuch(page) {
  await page.getByLabel('Units').fill('900000000');
  await page.getByRole('button', { name: 'Buy', exact: true }).click();
  const outcome = page.locator('.ticket-outcome .down');
  await outcome.waitFor({ timeout: SOON_MS });
  seen.denial = await outcome.innerText();
  const chip = rowsOf(page, 'Orders').locator('.chip.bad').first();
  await chip.waitFor({ timeout: SOON_MS });
  await chip.click();
  await page.getByRole('dialog').getByText('refused').first().waitFor({ timeout: SOON_MS });
  seen.denied_order = await page.getByRole('dialog').innerText();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
}

/** Pause the replay; the bars of the feed and of the chart once both have come to rest. */
async function barsAtRest(page) {
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Play' }).waitFor({ timeout: SOON_MS });
  for (;;) {
    const [bar, bars] = [await feedBar(page), await barsShown(page)];
    await page.waitForTimeout(3_000);
    if ((await feedBar(page)) === bar && (await barsShown(page)) === bars) return { bars, bar };
  }
}

/** Pull the network for 20 s; what happened meanwhile must arrive, by the socket alone. */
async function loseNetwork(page) {
  const before = await barsAtRest(page);
  await page.getByRole('button', { name: 'Play' }).click();
  await page.getByRole('button', { name: 'Pause' }).waitFor({ timeout: SOON_MS });
  relay.cut();
  const cutAt = Date.now();
  await page.getByText(/^Reconnecting, \d+ s old$/).waitFor({ timeout: SOON_MS });
  seen.noticed_after_s = (Date.now() - cutAt) / 1000;
  seen.stale_panels = await page.locator('.stale-mark').count();
  await page.waitForTimeout(Math.max(0, CUT_MS - (Date.now() - cutAt)));
  relay.heal();
  const healedAt = Date.now();
  await page.getByText('Live', { exact: true }).waitFor({ timeout: SOON_MS });
  seen.live_again_after_s = (Date.now() - healedAt) / 1000;
  await page.waitForTimeout(2_000);

  const after = await barsAtRest(page);
  seen.bars_missed_by_the_chart = after.bar - before.bar - (after.bars - before.bars);
  seen.bars_in_the_cut = after.bar - before.bar;
  seen.read_again = seen.requests
    .filter(({ at }) => at > cutAt)
    .map((request) => request.path)
    .filter((each) => /candles|qfh|orders|trading-signals/.test(each));
  seen.orders_shown = await shownOrders(page);
  seen.orders_stored = await storedOrders(page);
}

/** Ask for a backtest; its answer comes by the socket, its page from the server. */
async function askTheLab(page) {
  await page.getByRole('link', { name: 'Research' }).click();
  await page.getByText('Nothing was asked of the lab yet.').waitFor({ timeout: SOON_MS });
  await page.getByRole('button', { name: 'Backtest' }).click();
  await page.getByRole('button', { name: 'Start backtest' }).click();
  const answer = page.locator('.run-standing b');
  await answer.waitFor({ timeout: ANSWER_MS });
  seen.backtest = await answer.innerText();
  const link = page.getByRole('link', { name: 'Open the page' });
  const report = await page.request.get(new URL(await link.getAttribute('href'), base).href);
  seen.report_policy = report.headers()['content-security-policy'];
  await page.goBack();
  await page.getByText(seen.backtest).waitFor({ timeout: SOON_MS });
  seen.back_at = new URL(page.url()).pathname;
}

async function feedBar(page) {
  const text = await page.locator('.replay-place').innerText();
  return Number(/bar ([\d,]+) of/.exec(text)[1].replaceAll(',', ''));
}

async function shownOrders(page) {
  const rows = rowsOf(page, 'Orders');
  await rows.first().waitFor();
  const names = await rows.locator('button.link').evaluateAll((all) =>
    all.map((each) => each.getAttribute('aria-label')),
  );
  const states = await rows.locator('.chip').allInnerTexts();
  return names.map((name, index) => [Number(/^Order (\d+),/.exec(name)[1]), states[index]]);
}

async function storedOrders(page) {
  const answer = await page.evaluate(() => fetch('/api/orders?limit=200').then((r) => r.json()));
  return answer.results.map(({ id, state }) => [id, state]);
}

/** The same page on a telephone: every view fits and shows its panels. */
async function visitNarrow(context) {
  const page = await context.newPage();
  await page.setViewportSize({ width: 390, height: 844 });
  watch(page);
  await page.goto(base);
  await page.getByText('Live', { exact: true }).waitFor({ timeout: SOON_MS });
  seen.narrow = {};
  for (const view of ['Chart', 'Trade', 'Activity', 'Account', 'System']) {
    await page.getByRole('navigation').getByRole('button', { name: view }).click();
    await page.waitForTimeout(300);
    seen.narrow[view] = await page.evaluate(() => ({
      width: document.documentElement.scrollWidth,
      panels: [...document.querySelectorAll('.panel')].filter((panel) => panel.offsetHeight > 40)
        .length,
    }));
    await page.screenshot({ path: path.join(folder, `narrow-${view}.png`) });
  }
}

async function until(holds, limit_ms, what) {
  const end = Date.now() + limit_ms;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`${what} did not come within ${limit_ms / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** A relay of TCP connections that can fall silent without closing any of them. */
async function startRelay(port) {
  const sockets = new Set();
  const state = { isCut: false };
  const server = net.createServer((near) => {
    const far = net.connect(Number(port), '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      sockets.add(from);
      from.on('data', (data) => to.write(data));
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.on('error', () => to.destroy());
      if (state.isCut) from.pause();
    }
  });
  await new Promise((resolve) => server.listen(0, 'localhost', resolve));
  return Object.assign(state, {
    port: server.address().port,
    cut() {
      state.isCut = true;
      for (const socket of sockets) socket.pause();
    },
    heal() {
      state.isCut = false;
      for (const socket of sockets) socket.resume();
    },
    stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  });
}
