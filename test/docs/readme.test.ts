// "Told, not asked" and "Events" of the README do what they say: each example is taken out as it stands there and run against a real server.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { backendFor } from '../support/backend.ts';
import { pageFor, withoutBrowser } from '../support/browser.ts';
import { cleanUp } from '../support/cleanup.ts';
import { freePort } from '../support/free-port.ts';
import { get, post } from '../support/http.ts';
import { submit } from '../support/operations.ts';
import { siteFor } from '../support/page-server.ts';
import { serverFor, temporaryFolder, type TestServer } from '../support/server.ts';
import { has } from './page-worker.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'README.md'), 'utf8');
const examples = new Map(
  Array.from(page.matchAll(/<!-- run: ([\w.]+) -->\n```\w+\n([^]*?)```/g), ([, name, source]) => [name!, source!]),
);
const stages = ['kneading', 'baking'];

/** A server with an oven that reports two stages. */
async function oven(t: TestContext, fields: Record<string, unknown> = {}): Promise<TestServer> {
  const backend = await backendFor(t, async ({ headers }) => {
    for (const stage of stages) await post(headers['operation-progress-url']!, { body: { stage } });
    return { body: '{"ready":true}' };
  });
  const services = { 'pizza-oven': { target: { url: backend.url } } };
  return serverFor(t, { services, fields: { allowNetwork: ['127.0.0.0/8'], ...fields } });
}

/** The example with other places in it than those that are printed. */
function exampleFor(name: string, places: Readonly<Record<string, string>>): string {
  let source = examples.get(name) ?? '';
  assert.notEqual(source, '', `the page has no ${name}`);
  for (const [printed, place] of Object.entries(places)) {
    assert.ok(source.includes(printed), `${name}: ${printed}`);
    source = source.replaceAll(printed, place);
  }
  return source;
}

/** Runs a program and gives what it has printed once that fits. */
async function printed(
  t: TestContext,
  [program, ...words]: readonly [string, ...string[]],
  { cwd, fits }: { cwd: string; fits: RegExp },
): Promise<string> {
  const env = { PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH']}`, HOME: cwd };
  const child = spawn(program, words, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  cleanUp(t, () => {
    try {
      // What it left in the background as well.
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // Nothing is left of it.
    }
    return closed;
  });
  let text = '';
  return new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (more: string) => {
        text += more;
        if (fits.test(text)) resolve(text);
      });
    child.once('error', reject);
    void closed.then(() => reject(new Error(`${program} has ended with:\n${text}`)));
  });
}

/** A folder whose programs can import the client by its name. */
async function withClient(folder: string): Promise<void> {
  await mkdir(join(folder, 'node_modules/@waitless'), { recursive: true });
  for (const name of ['client', 'protocol'])
    await symlink(join(root, 'packages', name), join(folder, 'node_modules/@waitless', name));
}

const noCurl = has('sh', '-c', 'curl --version') ? false : 'skipped: curl is not installed';

test('a stream in answer to the submit', { skip: noCurl, timeout: 60_000 }, async (t) => {
  const server = await oven(t);
  const source = exampleFor('stream.sh', { 'http://127.0.0.1:7878': server.url });
  const text = await printed(t, ['sh', '-c', source], { cwd: await temporaryFolder(t), fits: /event: succeeded\n/ });
  assert.deepEqual(
    Array.from(text.matchAll(/^event: (\w+)$/gm), ([, kind]) => kind),
    ['queued', 'running', 'progress', 'progress', 'succeeded'],
  );
});

test('callbacks, received by `waitless listen`', { skip: noCurl, timeout: 60_000 }, async (t) => {
  const server = await oven(t);
  const [port, cwd] = [await freePort(), await temporaryFolder(t)];
  const source = exampleFor('callback.sh', {
    'http://127.0.0.1:7878': server.url,
    'npx waitless listen': `${process.execPath} ${join(root, 'packages/cli/bin/waitless.js')} listen --url ${server.url}`,
    '9000': String(port),
  });
  // A callback that finds nobody yet is made again only seconds later, so the second line waits as a person does.
  const [listen = '', curl = ''] = source.split('\n').filter((line) => !line.startsWith('#'));
  const listening = printed(t, ['sh', '-c', listen], { cwd, fits: /succeeded/ });
  const ready = `until curl -s http://127.0.0.1:${port} -o /dev/null; do sleep 0.1; done`;
  await printed(t, ['sh', '-c', `${ready}; ${curl}`], { cwd, fits: /"id"/ });
  const text = await listening;
  for (const stage of stages) assert.match(text, new RegExp(stage));
});

test('a page with an EventSource', { skip: withoutBrowser, timeout: 60_000 }, async (t) => {
  const site = await siteFor(t);
  const server = await oven(t, { corsOrigin: [site] });
  const { id } = await submit(server.url, 'pizza-oven', { body: '{"pizza":"bianca"}' });
  const made = await post(`${server.url}/v1/tokens`, { body: { operations: [id] } });
  const { token } = made.json<{ token: string }>();
  const places = { 'http://127.0.0.1:7878': server.url, '${operation}': id, '${token}': token };
  const tab = await pageFor(t);
  await tab.goto(site);
  await tab.setContent(exampleFor('page.html', places));
  await tab.waitForFunction(`document.querySelector('li:last-child')?.textContent === 'succeeded'`);
  assert.deepEqual(await tab.locator('li').allTextContents(), [
    'queued',
    'running',
    ...stages.map((stage) => `running: ${stage}`),
    'succeeded',
  ]);
});

test('the SDK', { timeout: 60_000 }, async (t) => {
  const server = await oven(t);
  const cwd = await temporaryFolder(t);
  await withClient(cwd);
  await writeFile(join(cwd, 'socket.mjs'), exampleFor('socket.mjs', { 'http://127.0.0.1:7878': server.url }));
  const text = await printed(t, [process.execPath, 'socket.mjs'], { cwd, fits: /^succeeded/m });
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => line.trim());
  const story = ['queued', 'running', ...stages.map((stage) => `running ${stage}`)];
  // Where it looked first is not ours to say; from there on nothing is missing.
  assert.deepEqual(lines.slice(0, -1), story.slice(story.length - lines.length + 1));
});

const noJq = has('sh', '-c', 'jq --version') ? noCurl : 'skipped: jq is not installed';

test('events: a subscription, a publish, and who takes it', { skip: noJq, timeout: 60_000 }, async (t) => {
  const server = await oven(t);
  const source = exampleFor('events.sh', { 'http://127.0.0.1:7878': server.url });
  const cwd = await temporaryFolder(t);
  const text = await printed(t, ['sh', '-e', '-c', source], { cwd, fits: /"next":null/ });
  assert.match(text, /"ids":\["[^"]+"\],"positions":\[1\]/);
  assert.match(text, /"topic":"pizza\.ordered","event":\{.*"data":\{"pizza":"margherita"\}/);
  const { open, readTo } = (await get(`${server.url}/v1/subscriptions/history`)).json<{
    open: object;
    readTo: number;
  }>();
  assert.equal(readTo, 1);
  assert.deepEqual(open, { waiting: 0, sending: 0, held: 0, dead: 0 }, 'it is done with');

  await writeFile(join(cwd, 'events.mjs'), exampleFor('events.mjs', { 'http://127.0.0.1:7878': server.url }));
  await withClient(cwd);
  const told = await printed(t, [process.execPath, 'events.mjs'], { cwd, fits: /\n/ });
  assert.equal(told, "pizza.ordered { pizza: 'funghi' }\n");
});
