// The page of the pizza example in a real browser: what is ordered on it is seen there stage by stage, and so is what everybody else orders.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { pageFor, withoutBrowser } from '../support/browser.ts';
import { cleanUp } from '../support/cleanup.ts';
import { post } from '../support/http.ts';

const script = fileURLToPath(new URL('../../examples/pizza/run.mjs', import.meta.url));

interface Pizzeria {
  /** Where its page is. */
  site: string;
  /** Where Waitless listens. */
  waitless: string;
}

/** The example as its README starts it, stopped as Ctrl-C would. */
async function pizzeriaFor(t: TestContext): Promise<Pizzeria> {
  const child = spawn(process.execPath, [script, '--page'], {
    env: { ...process.env, PIZZA_PACE: '0.1' },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const closed = once(child, 'close');
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (errors += chunk));
  let waitless = '';
  const opened = new Promise<Pizzeria>((resolve, reject) => {
    createInterface(child.stdout).on('line', (line) => {
      waitless = /Waitless listens on (\S+)/.exec(line)?.[1] ?? waitless;
      const site = /^The page: (\S+)$/.exec(line)?.[1];
      if (site !== undefined) resolve({ site, waitless });
    });
    child.once('close', () => reject(new Error(`the example ended:\n${errors}`)));
  });
  cleanUp(t, async () => {
    child.kill('SIGTERM');
    await closed;
  });
  return opened;
}

const textsOf = (page: Page, selector: string): Promise<string[]> =>
  page.evaluate(`[...document.querySelectorAll(${JSON.stringify(selector)})].map((one) => one.textContent)`);

test(
  "the pizzeria's page shows an order live: OK, Prep, Bake, Oven, ready; and what others ordered, as text",
  { skip: withoutBrowser, timeout: 120_000 },
  async (t) => {
    const { site, waitless } = await pizzeriaFor(t);
    const page = await pageFor(t);
    page.setDefaultTimeout(60_000);
    const wrong: string[] = [];
    page.on('pageerror', ({ message }) => wrong.push(message));
    page.on('console', (line) => line.type() === 'error' && wrong.push(line.text()));
    const answer = await page.goto(site);
    assert.match(
      answer!.headers()['content-security-policy']!,
      /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' http:\/\/127\.0\.0\.1:\d+;/,
    );
    // Not by functions that wait: those need `eval`, which the page's policy forbids.
    await page.locator('body[data-facts=open]').waitFor();

    // Every text that stood where the stage is told, in the order it came.
    await page.evaluate(`
      globalThis.shown = [];
      const note = () => {
        const text = document.querySelector('#mine li span')?.textContent;
        if (text && shown.at(-1) !== text) shown.push(text);
      };
      new MutationObserver(note).observe(document.querySelector('#mine'), { childList: true, subtree: true, characterData: true });
    `);
    await page.click('#order');
    await page.getByText('ready for pickup').waitFor();
    assert.deepEqual(await page.evaluate('shown'), [
      'OK, we have your order',
      'Prep',
      'Bake',
      'Oven',
      'ready for pickup',
    ]);
    assert.equal(await page.evaluate(`document.querySelector('#mine progress').value`), 100);

    // A browser has six connections to a host; ten pizzas need one.
    for (let more = 0; more < 9; more++) await page.click('#order');
    await page.locator('#mine li', { hasText: 'ready for pickup' }).nth(9).waitFor();
    assert.deepEqual(await textsOf(page, '#mine small'), Array(10).fill('Prep → Bake → Oven'));

    // An order that came by API, from a guest with a name that must never run.
    const guest = '<img src=x onerror="document.title=1">';
    const sent = await post(`${waitless}/v1/call/orders`, { body: { guest, pizza: 'slice' } });
    assert.equal(sent.status, 202);
    await page.locator('#board tr.ready').nth(10).waitFor();
    assert.equal((await textsOf(page, '#board td:nth-child(2)'))[0], guest);
    assert.equal(await page.title(), 'Pizzeria');
    assert.equal(await page.evaluate(`document.images.length`), 0);

    await page.click('#surge');
    await page.locator('#board tr.ready').nth(50).waitFor();
    assert.deepEqual(await textsOf(page, '#counts'), ['51 ordered, 51 ready']);
    assert.deepEqual(wrong, []);
  },
);
