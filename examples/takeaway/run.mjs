// An evening at a takeaway: everyone gets a number at once, and learns in a way of their own that the food is ready. `node examples/takeaway/run.mjs`
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ready } from '../../scripts/ready.mjs';
import { start } from '../credit-score/processes.mjs';
import { asks, leavesNumber, takesPager } from './guests.mjs';
import { phone as phoneFor } from './phone.mjs';

const keep = process.argv.includes('--keep');
const unknown = process.argv.slice(2).filter((word) => word !== '--keep');
if (unknown.length > 0) {
  console.error(
    `There is no option ${unknown[0]}; there is --keep, which leaves everything running to be tried by hand.`,
  );
  process.exit(2);
}

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const say = (/** @type {string[]} */ ...lines) => console.log(['', ...lines].join('\n'));
const json = { 'Content-Type': 'application/json' };
const node = ready();
// Built by now, on a first run too.
const { verifyWebhook } = await import('@waitless/client');
const data = await mkdtemp(join(tmpdir(), 'waitless-takeaway-'));
/** @type {import('../credit-score/processes.mjs').Running[]} */
const running = [];

/** Ctrl-C and SIGTERM end the evening early; what was started is stopped all the same. */
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));
const { signal } = stopping;

async function open() {
  const kitchen = start({ name: 'kitchen', node, argv: [here('kitchen.mjs')] });
  running.push(kitchen);
  const [, kitchenUrl] = await kitchen.line(/^kitchen ready: (.+)$/);
  const cli = here('../../packages/cli/bin/waitless.js');
  const argv = [cli, 'serve', '--config', here('waitless.yaml'), '--port', '0', '--data', data];
  const waitless = start({ name: 'waitless serve', node, argv, env: { KITCHEN: kitchenUrl } });
  running.push(waitless);
  const [url] = await waitless.line(/http:\/\/\S+/);
  return url;
}

/** The counter's secret, so that a phone knows the counter's calls from anybody else's. @param {string} url @returns {Promise<string>} */
async function secretOf(url) {
  const made = await fetch(`${url}/v1/callback-secrets/rotate`, { method: 'POST', headers: json, body: '{}', signal });
  return (await made.json()).secret;
}

/** The first guest stands at the counter until the food is there, and the counter learns how long that takes. @param {string} url */
async function firstGuest(url) {
  const startedAt = Date.now();
  const init = { method: 'POST', headers: { ...json, Prefer: 'wait=30' }, body: '{"dish":"marinara"}', signal };
  const { dish } = await (await fetch(`${url}/v1/call/orders`, init)).json();
  console.log(
    `  The first guest stands at the counter (Prefer: wait=30): ${dish} after ${seconds(Date.now() - startedAt)}.`,
  );
}

const seconds = (/** @type {number} */ ms) => `${(ms / 1000).toFixed(1)} s`;

/** @param {readonly import('./guests.mjs').Evening[]} guests */
function summary(guests) {
  say('What the evening took:', '', '           requests  polls  learned of it');
  for (const { name, requests, polls, lateMs } of guests)
    console.log(
      `  ${name.padEnd(8)} ${String(requests).padStart(8)} ${String(polls).padStart(6)}  ${seconds(lateMs)} after it was ready`,
    );
}

/** Throws where the evening was not as the README tells it. @param {readonly import('./guests.mjs').Evening[]} guests */
function check([anna, ben, carla]) {
  const problems = [];
  if (anna.polls < 2) problems.push('Anna never came too early');
  for (const { name, polls, stages } of [ben, carla]) {
    if (polls !== 0) problems.push(`${name} had to ask`);
    if (stages.join() !== 'prepared,in the oven,packed')
      problems.push(`${name} was told ${stages.join() || 'nothing'}`);
  }
  const dishes = [anna, ben, carla].map(({ dish }) => dish).join();
  if (dishes !== 'margherita,funghi,diavola') problems.push(`somebody got another's food: ${dishes}`);
  if (problems.length > 0) throw new Error(problems.join('; '));
}

async function evening() {
  say('Starting a kitchen that cooks while its caller waits, and Waitless as its counter.', '');
  const url = await open();
  for (const { name, pid } of running) console.log(`  ${name}: process ${pid}`);
  console.log(`  Waitless listens on ${url}`);
  const secrets = await secretOf(url);
  const phone = await phoneFor({ signal, verify: ({ headers, body }) => verifyWebhook({ headers, body, secrets }) });
  try {
    say('Early in the evening:', '');
    await firstGuest(url);
    say('Then three at once:', '');
    const startedAt = Date.now();
    const counter = (/** @type {string} */ name) => ({
      url,
      signal,
      tell: (/** @type {string} */ what) =>
        console.log(`  ${seconds(Date.now() - startedAt).padStart(6)}  ${name.padEnd(6)} ${what}`),
    });
    const guests = await Promise.all([
      asks(counter('Anna')),
      takesPager(counter('Ben')),
      leavesNumber({ ...counter('Carla'), phone }),
    ]);
    summary(guests);
    check(guests);
    if (keep) await tryByHand(url);
  } finally {
    phone.close();
  }
}

/** @param {string} url */
async function tryByHand(url) {
  const order = `-H 'Content-Type: application/json' -d '{"dish":"calzone"}' ${url}/v1/call/orders`;
  say(
    'Everything keeps running. To try by hand, in another terminal:',
    '',
    `  curl -i ${order}`,
    `  curl -N -H 'Accept: text/event-stream' ${order}`,
    `  npx waitless submit orders -d '{"dish":"calzone"}' --wait --url ${url}`,
    '',
    'Ctrl-C stops it all.',
  );
  await new Promise((resolve) => {
    // A listener alone keeps no process alive.
    const alive = setInterval(() => undefined, 60_000);
    signal.addEventListener('abort', () => resolve(clearInterval(alive)), { once: true });
  });
}

try {
  await evening();
} catch (error) {
  console.error(`\n${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  for (const one of running.toReversed()) await one.stop();
  await rm(data, { recursive: true, force: true });
  say(`Stopped: ${running.map(({ name }) => name).join(', ')}.`);
}
