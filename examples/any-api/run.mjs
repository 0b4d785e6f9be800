// A walk through an API that was not written for Waitless and is made asynchronous by a config file alone. `node examples/any-api/run.mjs`
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ready } from '../../scripts/ready.mjs';
import { start } from '../credit-score/processes.mjs';

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
const node = ready();
const data = await mkdtemp(join(tmpdir(), 'waitless-any-api-'));
const archiveKey = 'archive-secret';
/** @type {import('../credit-score/processes.mjs').Running[]} */
const running = [];

/** Ctrl-C and SIGTERM end the walk early; what was started is stopped all the same. */
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));

/** @typedef {{ status: number, headers: Headers, bytes: Buffer }} Answer */

/** Sends a request and prints what was asked and answered. @param {string} url @param {RequestInit} [init] @returns {Promise<Answer>} */
async function ask(url, init = {}) {
  const startedAt = performance.now();
  const { pathname, search } = new URL(url);
  const response = await fetch(url, { signal: stopping.signal, redirect: 'manual', ...init });
  const bytes = Buffer.from(await response.arrayBuffer());
  const ms = performance.now() - startedAt;
  console.log(`  > ${init.method ?? 'GET'} ${pathname}${search}`);
  console.log(
    `  < ${response.status} ${response.statusText}, after ${ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`}`,
  );
  return { status: response.status, headers: response.headers, bytes };
}

const digest = (/** @type {Buffer} */ bytes) => createHash('sha256').update(bytes).digest('hex').slice(0, 16);
/** @type {string[]} */
const problems = [];
const expect = (/** @type {boolean} */ holds, /** @type {string} */ what) => void (holds || problems.push(what));

/** Hands in a request and fetches its result from the Location of the 202. @param {string} url @param {RequestInit} [init] @returns {Promise<Answer>} */
async function throughWaitless(url, init) {
  const accepted = await ask(url, init);
  expect(accepted.status === 202, `${url} was answered ${accepted.status} instead of 202`);
  // Held until it is there; how a client that cannot wait does it stands in the first part of the walk.
  return ask(accepted.headers.get('location') ?? '', { headers: { Prefer: 'wait=30' } });
}

/** @param {string} what @param {Answer} got @param {Answer} direct */
function compare(what, got, direct) {
  const same = got.status === direct.status && got.bytes.equals(direct.bytes);
  expect(same, `${what}: the result differs from the archive's own answer`);
  const type = got.headers.get('content-type');
  expect(type === direct.headers.get('content-type'), `${what}: another media type`);
  console.log(
    `  ${what}: status ${got.status}, ${type}, ${got.bytes.length} bytes, sha256 ${digest(got.bytes)}… ${same ? 'as the archive sent it' : 'NOT as the archive sent it'}`,
  );
}

async function walk() {
  say('Starting the archive, a slow API that knows nothing of Waitless, and Waitless in front of it.', '');
  const archive = start({ name: 'archive', node, argv: [here('api.mjs')], env: { ARCHIVE_KEY: archiveKey } });
  running.push(archive);
  const [, archiveUrl] = await archive.line(/^archive ready: (.+)$/);
  const argv = [here('../../packages/cli/bin/waitless.js'), 'serve', '--config', here('waitless.yaml')];
  const waitless = start({
    name: 'waitless serve',
    node,
    argv: [...argv, '--port', '0', '--data', data],
    env: { REPORTS_API: archiveUrl, ARCHIVE_KEY: archiveKey },
  });
  running.push(waitless);
  const [url] = await waitless.line(/http:\/\/\S+/);
  for (const { name, pid } of running) console.log(`  ${name}: process ${pid}`);
  const reports = `${url}/v1/call/reports`;
  /** The same without Waitless, to compare with. @param {string} path @param {{ method?: string, headers?: Record<string, string>, body?: string }} [init] */
  const direct = (path, { headers = {}, ...init } = {}) =>
    ask(`${archiveUrl}/reports${path}`, { ...init, headers: { ...headers, 'X-Archive-Key': archiveKey } });

  say('(1) Straight to the archive, the caller waits for the report:', '');
  const report = await direct('/monthly?year=2026');
  say(
    '    The same path below /v1/call/reports is answered at once. The client looks at Location, as often as Retry-After says:',
    '',
  );
  let answer = await ask(`${reports}/monthly?year=2026`);
  expect(answer.status === 202, 'the submit was not answered 202');
  const location = answer.headers.get('location') ?? '';
  while (answer.status === 202) {
    await pause(Number(answer.headers.get('retry-after')) * 1000, undefined, { signal: stopping.signal });
    answer = await ask(location);
  }
  compare('report', answer, report);
  expect(answer.headers.get('x-archive-shelf') === 'north 7', "the archive's own header is missing");

  say('(2) A file. Bytes are bytes:', '');
  const file = await throughWaitless(`${reports}/scan.pdf?year=2026`);
  compare(`file, ${file.headers.get('content-disposition')}`, file, await direct('/scan.pdf?year=2026'));

  say("(3) The archive's own 404 is a result like any other:", '');
  const missing = await throughWaitless(`${reports}/weekly`);
  compare('404', missing, await direct('/weekly'));
  console.log(`  Operation-Status: ${missing.headers.get('operation-status')}, ${missing.bytes}`);
  expect(missing.headers.get('operation-status') === 'failed', 'a 404 is a failed operation');
  say('    A 404 of Waitless itself has no Operation-Status, so whose it is is never in doubt:', '');
  const ours = await ask(`${url}/v1/call/raports/weekly`);
  console.log(
    `  Operation-Status: ${ours.headers.get('operation-status') ?? 'none'}, ${JSON.parse(ours.bytes.toString()).detail}`,
  );
  expect(ours.status === 404 && !ours.headers.has('operation-status'), 'the 404 of Waitless looks like a result');

  say('(4) Orders by POST, a good one and one that the archive refuses:', '');
  const order = (/** @type {string} */ body) => ({
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body,
  });
  for (const body of ['{"year":2027}', '{"year":"soon"}'])
    compare(body, await throughWaitless(reports, order(body)), await direct('', order(body)));

  say(
    '(5) The archive stumbles over the first request for a year. Waitless asks again, the client notices nothing:',
    '',
  );
  const yearly = await throughWaitless(`${reports}/yearly?year=2025`);
  console.log(`  ${yearly.status} ${yearly.bytes}`.trimEnd());
  const tries = archive.lines.filter((line) => line.includes('/reports/yearly?year=2025')).length;
  console.log(`  The archive was asked ${tries} times.`);
  expect(yearly.status === 200 && tries === 2, 'the stumble was not repaired by a second attempt');

  say('(6) Six at once, each answered at once. The archive never sees more than two (concurrency: 2):', '');
  const seen = archive.lines.length;
  const years = [2020, 2021, 2022, 2023, 2024, 2025];
  const six = await Promise.all(years.map((year) => throughWaitless(`${reports}/monthly?year=${year}`)));
  const most = Math.max(...archive.lines.slice(seen).map((line) => Number(/\((\d+) at once\)/.exec(line)?.[1] ?? 0)));
  const right = six.filter(({ bytes }, index) => bytes.toString().includes(`"year": ${years[index]},`)).length;
  console.log(`  ${right} of 6 reports are right; the archive worked on ${most} at once.`);
  expect(right === 6 && most <= 2, `${right} of 6 are right, ${most} at once`);

  if (problems.length > 0) throw new Error(problems.join('; '));
  say('All of this came from waitless.yaml; the archive is as it was.');
  if (keep) await tryByHand(url);
}

/** @param {string} url */
async function tryByHand(url) {
  say(
    'Everything keeps running. To try by hand, in another terminal:',
    '',
    `  curl -i '${url}/v1/call/reports/monthly?year=2026'`,
    `  curl -OJ -H 'Prefer: wait=30' '${url}/v1/call/reports/scan.pdf?year=2026'`,
    `  curl '${url}/v1/operations?limit=5'`,
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
