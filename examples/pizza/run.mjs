// An evening at a pizzeria whose services talk by events. `node examples/pizza/run.mjs` tells it and ends; with --page it is watched, and played, in a browser.
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ready } from '../../scripts/ready.mjs';
import { start } from '../credit-score/processes.mjs';
import { openSite } from './site.mjs';
import { story } from './story.mjs';
import { subscriptions } from './subscriptions.mjs';

const page = process.argv.includes('--page');
const unknown = process.argv.slice(2).filter((word) => word !== '--page');
if (unknown.length > 0) {
  console.error(
    `There is no option ${unknown[0]}; there is --page, which tells no story and serves a page to play with.`,
  );
  process.exit(2);
}

const cooks = ['executor 1', 'executor 2'];

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const say = (/** @type {string[]} */ ...lines) => console.log(['', ...lines].join('\n'));
const node = ready();
const data = await mkdtemp(join(tmpdir(), 'waitless-pizza-'));
/** @type {import('../credit-score/processes.mjs').Running[]} */
const running = [];
const of = (/** @type {string} */ name) =>
  /** @type {import('../credit-score/processes.mjs').Running} */ (running.find((one) => one.name === name));

/** Ctrl-C and SIGTERM end the evening early; what was started is stopped all the same. */
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));
const { signal } = stopping;

let startedAt = Date.now();
const seconds = (/** @type {number} */ ms) => `${(ms / 1000).toFixed(1)} s`;
const tell = (/** @type {string} */ who, /** @type {string} */ what) =>
  console.log(`  ${seconds(Date.now() - startedAt).padStart(6)}  ${who.padEnd(10)}  ${what}`);

/** A new clock for each. @param {string} title */
function scene(title) {
  say(title, '');
  startedAt = Date.now();
}

/** A process of the pizzeria. Of what it says, that about Alice and Cleo is part of the story. @param {string} name @param {string} file @param {Record<string, string>} env */
function employ(name, file, env) {
  const onLine = (/** @type {string} */ line) => {
    if (!page && /\b(Alice|Cleo)\b/.test(line))
      tell(
        name,
        line.replace(/\b[0-9a-f]{35,}\b/, (number) => `${number.slice(0, 8)}…`),
      );
  };
  const employed = start({ name, node, argv: [here(file)], env, onLine });
  running.push(employed);
  console.log(`  ${name}: process ${employed.pid}`);
  return employed;
}

/** Everybody but the history, which comes late. @param {string} site where the page comes from */
async function open(site) {
  const secret = `whsec_${randomBytes(24).toString('base64')}`;
  const [, notifierUrl] = await employ('notifier', 'notifier.mjs', { NOTIFIER_SECRET: secret }).line(
    /^notifier ready: (.+)$/,
  );
  const cli = here('../../packages/cli/bin/waitless.js');
  const argv = [cli, 'serve', '--config', here('waitless.yaml'), '--port', '0', '--data', data, '--cors-origin', site];
  const waitless = start({ name: 'waitless serve', node, argv });
  running.push(waitless);
  console.log(`  ${waitless.name}: process ${waitless.pid}`);
  const [url] = await waitless.line(/http:\/\/\S+/);
  for (const [name, document] of Object.entries(subscriptions({ notifierUrl, secret }))) {
    const headers = { 'Content-Type': 'application/json' };
    const init = { method: 'PUT', headers, body: JSON.stringify(document), signal };
    const made = await fetch(`${url}/v1/subscriptions/${name}`, init);
    if (!made.ok) throw new Error(`the subscription ${name} was not made: ${await made.text()}`);
  }
  await employ('counter', 'counter.mjs', { WAITLESS_URL: url }).line(/^counter ready$/);
  for (const name of cooks)
    await employ(name, 'executor.mjs', { WAITLESS_URL: url, EXECUTOR: name.replace(' ', '-') }).line(
      /^executor ready$/,
    );
  return url;
}

const site = await openSite();
/** Rejects when it is to end early. The site's listener keeps the process alive until then. */
const aborted = new Promise((_, reject) => {
  signal.addEventListener('abort', () => reject(signal.reason), { once: true });
});

async function evening() {
  say('Opening a pizzeria: a counter, two cooks, a notifier, and Waitless between them.', '');
  const url = await open(site.url);
  site.serve(url);
  const callHistory = () => employ('history', 'history.mjs', { WAITLESS_URL: url });
  if (page) callHistory();
  console.log(`  Waitless listens on ${url}`);
  if (page) return say(`The page: ${site.url}/`, 'Ctrl-C stops it all.');
  console.log(`  The page to watch: ${site.url}/`);
  return story({ url, signal, cooks, scene, tell, of, callHistory });
}

try {
  await Promise.race([evening(), aborted]);
  if (page) await aborted;
} catch (error) {
  if (!signal.aborted || !page) {
    console.error(`\n${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
} finally {
  site.close();
  for (const one of running.toReversed()) await one.stop();
  await rm(data, { recursive: true, force: true });
  say(`Stopped: ${running.map(({ name }) => name).join(', ')}.`);
}
