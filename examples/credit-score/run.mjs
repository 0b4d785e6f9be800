// A walk through the ways to call one slow API: waiting, polling, with a backend that calls back, and from the store. `node examples/credit-score/run.mjs`
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ready } from '../../scripts/ready.mjs';
import { start } from './processes.mjs';
import { exchange } from './wire.mjs';

const keep = process.argv.includes('--keep');
const unknownOptions = process.argv.slice(2).filter((word) => word !== '--keep');
if (unknownOptions.length > 0) {
  console.error(
    `There is no option ${unknownOptions[0]}; there is --keep, which leaves everything running to be tried by hand.`,
  );
  process.exit(2);
}

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const say = (/** @type {string[]} */ ...lines) => console.log(['', ...lines].join('\n'));
const json = { 'Content-Type': 'application/json' };
const bodyOf = (/** @type {string} */ customerId) => JSON.stringify({ customerId });

// Installs and builds what is missing, and knows a Node that is new enough for the server.
const node = ready();
const data = await mkdtemp(join(tmpdir(), 'waitless-credit-score-'));
/** @type {import('./processes.mjs').Running[]} */
const running = [];

/** Ctrl-C and SIGTERM end the walk early; what was started is stopped all the same. */
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));

/** @type {typeof exchange} */
const ask = (url, options) => exchange(url, { signal: stopping.signal, ...options });

async function startAll() {
  const bureaus = start({ name: 'bureaus', node, argv: [here('bureaus.mjs')] });
  running.push(bureaus);
  const [, bureauUrls] = await bureaus.line(/^bureaus ready: (.+)$/);

  const onLine = (/** @type {string} */ line) => running.length === 3 && console.log(`  backend says: ${line}`);
  const backend = start({ name: 'backend', node, argv: [here('backend.mjs')], env: { BUREAUS: bureauUrls }, onLine });
  running.push(backend);
  const [, backendUrl] = await backend.line(/^backend ready: (.+)$/);

  const cli = here('../../packages/cli/bin/waitless.js');
  const argv = [cli, 'serve', '--config', here('waitless.yaml'), '--port', '0', '--data', data];
  const waitless = start({ name: 'waitless serve', node, argv, env: { SCORE_BACKEND: backendUrl } });
  running.push(waitless);
  const [url] = await waitless.line(/http:\/\/\S+/);
  return { url, backend };
}

/** (a) One request that waits for its result. @param {string} url */
async function synchronously(url) {
  say(
    '(a) Synchronously: one request, held until the score is there, at most 30 seconds.',
    '    If it took longer, the answer would be a 202 for the same operation, and nothing would be lost.',
    '',
  );
  const answer = await ask(`${url}/v1/call/score`, {
    method: 'POST',
    headers: { ...json, Prefer: 'wait=30' },
    body: bodyOf('42'),
  });
  return { id: answer.header('operation-id'), score: answer.body.score };
}

/** (b) A receipt at once, then a look whenever Retry-After says. @param {string} url */
async function byPolling(url) {
  say('(b) Asynchronously: the 202 comes at once, with the id and where to look. The request is on disk by then.', '');
  const receipt = await ask(`${url}/v1/call/score`, { method: 'POST', headers: json, body: bodyOf('43') });
  const id = receipt.header('operation-id');
  const resultUrl = receipt.header('location') ?? '';

  say('    An early look does no harm. It says how far things are, and again when to come back:', '');
  const early = await ask(receipt.header('operation-location') ?? '', { show: 'first lines' });
  console.log(`  < status: ${early.body.status}`);

  say('    Then the client looks whenever Retry-After says, until the result is there:', '');
  let wait = Number(early.header('retry-after') ?? 0);
  for (;;) {
    console.log(`  ... ${wait} s later ...`);
    await pause(wait * 1000, undefined, { signal: stopping.signal });
    const answer = await ask(resultUrl, { show: 'first lines' });
    if (answer.status !== 202) {
      console.log(`  < ${JSON.stringify(answer.body)}`);
      return { id, score: answer.body.score };
    }
    console.log(`  < status: ${answer.body.status}`);
    wait = Number(answer.header('retry-after'));
  }
}

/** (c) A backend that answers 202 itself and calls back; progress is visible on the way. @param {string} url */
async function calledBack(url) {
  say(
    '(c) The backend calls back: it answers 202 itself, reports progress to Operation-Progress-Url and, when it is done,',
    '    POSTs the score to Operation-Reply-Url. No connection stays open in between. For the client nothing changes:',
    '',
  );
  const receipt = await ask(`${url}/v1/call/score-later`, {
    method: 'POST',
    headers: json,
    body: bodyOf('44'),
    show: 'first lines',
  });
  const id = receipt.header('operation-id');
  const statusUrl = receipt.header('operation-location') ?? '';

  say(
    '    To see progress as it happens, the client asks for the status and waits for each change (If-None-Match):',
    '',
  );
  /** @type {string[]} */
  const stages = [];
  for (let etag = ''; ;) {
    stopping.signal.throwIfAborted();
    const headers = { Prefer: 'wait=20', ...(etag === '' ? {} : { 'If-None-Match': etag }) };
    const answer = await ask(statusUrl, { headers, show: 'nothing' });
    if (answer.status === 304) continue;
    etag = answer.header('etag') ?? '';
    const { status, done, version, progress } = answer.body;
    if (progress !== null && progress.stage !== stages.at(-1)) stages.push(progress.stage);
    const what = progress === null ? '' : `, ${progress.stage} (${progress.percent} %)`;
    console.log(`  version ${version}: ${status}${done ? '' : what}`);
    if (done) break;
  }
  say('    The result is at its usual place:', '');
  const result = await ask(receipt.header('location') ?? '');
  return { id, score: result.body.score, stages };
}

/** (d) Everyone after the first. @param {string} url @param {{ id?: string, score: number }} first */
async function fromTheStore(url, first) {
  say(
    '(d) From the store: whoever asks for customer 42 now gets the score of (a), until its 24 hours have passed. The answer says',
    '    how old it is. The backend hears nothing of it:',
    '',
  );
  const again = await ask(`${url}/v1/call/score`, { method: 'POST', headers: json, body: bodyOf('42') });
  say("    Or by the customer's number alone, which starts nothing where there is nothing:", '');
  const byKey = await ask(`${url}/v1/services/score/results/42`, { show: 'first lines' });
  console.log(`  < ${JSON.stringify(byKey.body)}`);
  const unknown = await ask(`${url}/v1/services/score/results/99`, { show: 'first lines' });
  return {
    ids: [again, byKey].map((answer) => answer.header('operation-id')),
    same: [again, byKey].every((answer) => JSON.stringify(answer.body.score) === JSON.stringify(first.score)),
    marked: (again.header('cache-status') ?? '').startsWith('waitless; hit') && again.header('age') !== undefined,
    unknown: unknown.status,
  };
}

/** (e) Many at once. @param {string} url */
async function allAtOnce(url) {
  const callers = 20;
  say(`(e) All at once: ${callers} callers want the score of customer 45 in the same moment. It is computed once:`, '');
  const answers = await Promise.all(
    Array.from({ length: callers }, () =>
      ask(`${url}/v1/call/score`, {
        method: 'POST',
        headers: { ...json, Prefer: 'wait=30' },
        body: bodyOf('45'),
        show: 'nothing',
      }),
    ),
  );
  const collapsed = answers.filter(
    (answer) => answer.header('cache-status') === 'waitless; fwd=miss; collapsed',
  ).length;
  console.log(`  1 computed, ${collapsed} joined it, and all have the score ${answers[0].body.score}`);
  return { callers, collapsed, ids: new Set(answers.map((answer) => answer.header('operation-id'))) };
}

/** (f) Forget and compute anew. @param {string} url */
async function forgotten(url) {
  say('(f) Forgotten: the customer has paid a debt, so the stored score is not wanted any more.', '');
  const gone = await ask(`${url}/v1/services/score/results/42`, { method: 'DELETE', show: 'first lines' });
  const missing = await ask(`${url}/v1/services/score/results/42`, { show: 'first lines' });
  return { gone: gone.status, missing: missing.status };
}

/** What all of this shows, checked: throws where it is not so. */
function check(
  /** @type {Record<string, { id?: string, score: number, stages?: string[] }>} */ ways,
  { stored, crowd, forgot },
  backend,
) {
  say('What to take home:', '');
  const seen = backend.lines.flatMap((line) => /operation (\S+)$/.exec(line)?.[1] ?? []);
  const problems = [];
  for (const [way, { id, score }] of Object.entries(ways)) {
    console.log(`  ${way.padEnd(12)} score ${score}   the client got operation ${id}`);
    if (id === undefined || !seen.includes(id)) problems.push(`the backend never saw operation ${id}`);
  }
  const computed = (/** @type {string} */ customer) =>
    backend.lines.filter((/** @type {string} */ line) => line.includes(`customer ${customer},`)).length;
  if (stored.ids.some((/** @type {string} */ id) => id !== ways.waiting?.id) || !stored.same || !stored.marked)
    problems.push('the stored score is not the first one');
  if (stored.unknown !== 404) problems.push('an unknown customer was found');
  if (computed('42') !== 1) problems.push(`customer 42 was computed ${computed('42')} times`);
  if (crowd.ids.size !== 1 || crowd.collapsed !== crowd.callers - 1 || computed('45') !== 1)
    problems.push('those who asked at once did not share one computation');
  if (forgot.gone !== 204 || forgot.missing !== 404) problems.push('the score was not forgotten');
  const stages = ways.callback?.stages ?? [];
  if (stages.length === 0) problems.push('no progress was seen');
  if (problems.length > 0) throw new Error(problems.join('; '));
  say(
    '  The backend saw the very ids that the client got. Customer 42 was asked for three times and computed once,',
    `  customer 45 ${crowd.callers} times at once and computed once.`,
    `  Progress the client saw: ${stages.join(', ')}.`,
  );
}

async function walk() {
  say(
    'Starting three slow bureaus, a backend that asks them one after another, and Waitless in front of the backend.',
    '',
  );
  const { url, backend } = await startAll();
  for (const { name, pid } of running) console.log(`  ${name}: process ${pid}`);
  console.log(`  Waitless listens on ${url}`);

  const ways = { waiting: await synchronously(url), polling: await byPolling(url), callback: await calledBack(url) };
  const stored = await fromTheStore(url, ways.waiting);
  const crowd = await allAtOnce(url);
  const forgot = await forgotten(url);
  check(ways, { stored, crowd, forgot }, backend);
  if (keep) await tryByHand(url);
}

/** @param {string} url */
async function tryByHand(url) {
  const curl = (/** @type {string} */ words) => `  curl ${words}`;
  const call = `-H 'Content-Type: application/json' -d '${bodyOf('46')}'`;
  say(
    'Everything keeps running. To try by hand, in another terminal:',
    '',
    curl(`-i -H 'Prefer: wait=30' ${call} ${url}/v1/call/score`),
    curl(`-i ${call} ${url}/v1/call/score-later`),
    curl(`-i ${url}/v1/services/score/results/46`),
    curl(`'${url}/v1/operations?limit=5'`),
    '',
    'Ctrl-C stops it all.',
  );
  await new Promise((resolve) => {
    // A listener alone keeps no process alive.
    const alive = setInterval(() => undefined, 60_000);
    stopping.signal.addEventListener('abort', () => resolve(clearInterval(alive)), { once: true });
  });
}

try {
  await walk();
} catch (error) {
  console.error(`\n${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  for (const one of running.toReversed()) await one.stop();
  await rm(data, { recursive: true, force: true });
  say(`Stopped: ${running.map(({ name }) => name).join(', ')}.`);
}
