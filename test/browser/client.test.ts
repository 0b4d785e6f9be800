// The client in a real page: it works from an origin that the operator has named, from no other, and what a backend sends never runs in a page of ours.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ServerFrame, streamPath, streamProtocol, streamTokenPrefix } from '@waitless/protocol';
import type { Page } from 'playwright-core';
import { backendFor } from '../support/backend.ts';
import { pageFor, withoutBrowser } from '../support/browser.ts';
import { post } from '../support/http.ts';
import { ended, submit } from '../support/operations.ts';
import { reply, takeOne } from '../support/pull-worker.ts';
import { siteFor } from '../support/page-server.ts';
import { serverFor } from '../support/server.ts';

const options = { skip: withoutBrowser, timeout: 60_000 };

/** A page that has the client at hand. */
const withClient = `
  import * as waitless from '@waitless/client';
  Object.assign(globalThis, waitless, { ready: true });
`;

async function open(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page.waitForFunction('globalThis.ready');
}

/** A backend that reports two stages to the progress URL and then answers. */
const stages = (t: Parameters<typeof backendFor>[0]) =>
  backendFor(t, async ({ headers, body }) => {
    for (const [stage, percent] of [
      ['kneading', 30],
      ['baking', 60],
    ] as const)
      assert.equal((await post(headers['operation-progress-url']!, { body: { stage, percent } })).status, 200);
    return { headers: { 'Content-Type': 'application/json' }, body };
  });

test('request() and watch() work in a page of an origin that the server was told of', options, async (t) => {
  const backend = await stages(t);
  const site = await siteFor(t, withClient);
  const services = { oven: { target: { url: backend.url } } };
  const server = await serverFor(t, { services, fields: { corsOrigin: [site] } });
  const page = await pageFor(t);
  await open(page, site);
  const url = JSON.stringify(server.url);
  assert.deepEqual(
    await page.evaluate(
      `createClient({ url: ${url} }).request('oven', { pizza: 'bianca' }).then((answer) => answer.json())`,
    ),
    { pizza: 'bianca' },
  );
  const seen = await page.evaluate<string[]>(`(async () => {
    const client = createClient({ url: ${url} });
    const { operation } = await client.submit('oven', { body: { pizza: 'rossa' }, respondAsync: true });
    const seen = [];
    for await (const { status, progress } of client.watch(operation.id)) seen.push(progress ? status + ' ' + progress.sequence + ' ' + progress.stage : status);
    return seen;
  })()`);
  // Where it looked first is not ours to say; from there on nothing is missing.
  const story = ['queued', 'running', 'running 1 kneading', 'running 2 baking', 'succeeded 2 baking'];
  assert.deepEqual(seen, story.slice(-seen.length));
  assert.ok(seen.length > 0);
});

test('a page of any other origin gets nothing and starts nothing', options, async (t) => {
  const backend = await backendFor(t);
  const known = await siteFor(t, withClient);
  const foreign = await siteFor(t, withClient);
  const services = { oven: { target: { url: backend.url } } };
  const server = await serverFor(t, { services, fields: { corsOrigin: [known] } });
  const page = await pageFor(t);
  await open(page, foreign);
  const call = JSON.stringify(`${server.url}/v1/call/oven`);
  // A simple request, which a browser sends without asking first: the server itself has to refuse it.
  const outcome = (mode: string): Promise<string> =>
    page.evaluate(
      `fetch(${call}, { method: 'POST', body: 'x', mode: '${mode}' }).then(({ type, status }) => type + ' ' + status, (error) => error.name)`,
    );
  assert.equal(await outcome('cors'), 'TypeError');
  assert.equal(await outcome('no-cors'), 'opaque 0');
  assert.equal((await post(`${server.url}/v1/call/oven`, { headers: { Origin: foreign }, body: 'x' })).status, 403);
  assert.equal(backend.requests.length, 0);
  await open(page, known);
  assert.equal(await outcome('cors'), 'cors 202', 'the page of the origin that is named is let in');
});

/** Opens a WebSocket in the page; in its place, how it was refused. */
const socketIn = (page: Page, url: string, protocols: readonly string[]): Promise<string> =>
  page.evaluate(`new Promise((resolve) => {
    globalThis.frames = [];
    globalThis.socket = new WebSocket(${JSON.stringify(url)}, ${JSON.stringify(protocols)});
    socket.onopen = () => resolve('open ' + socket.protocol);
    socket.onclose = ({ code }) => resolve('closed ' + code);
    socket.onmessage = ({ data }) => frames.push(...[JSON.parse(data)].flat());
  })`);

test(
  'a page has a WebSocket by a read-only token, and may watch and nothing else; a page of another origin has none',
  options,
  async (t) => {
    const known = await siteFor(t, withClient);
    const foreign = await siteFor(t, withClient);
    const services = { jobs: { target: { pull: true } } };
    const server = await serverFor(t, { services, namespaces: ['default'], fields: { corsOrigin: [known] } });
    const key = server.key('default');
    const { id } = await submit(server.url, 'jobs', { body: 'x', key });
    const made = await post(`${server.url}/v1/tokens`, { key, body: { operations: [id] } });
    const { token } = made.json<{ token: string }>();
    const url = `${server.url.replace('http', 'ws')}${streamPath}`;
    const page = await pageFor(t);
    await open(page, known);
    assert.equal(await socketIn(page, url, [streamProtocol]), 'closed 1006', 'a page without a token is nobody');
    assert.equal(await socketIn(page, url, [streamProtocol, streamTokenPrefix + token]), `open ${streamProtocol}`);
    await page.evaluate(`
    socket.send(JSON.stringify({ type: 'submit', ref: 'no', service: 'jobs', body: 'y' }));
    socket.send(JSON.stringify({ type: 'watch', ref: 'w', operations: [${JSON.stringify(id)}] }));
  `);
    await page.waitForFunction(`frames.some(({ type, ref }) => type === 'event' && ref === 'w')`);
    const { token: lease } = await takeOne(server.url, 'jobs', { key });
    await reply(server.url, lease, 'done');
    await page.waitForFunction('frames.some(({ event }) => event?.done)');
    const frames = await page.evaluate<ServerFrame[]>('frames');
    const refused = frames.find((frame) => frame.type === 'error');
    assert.deepEqual([refused?.ref, refused?.problem.code], ['no', 'insufficient-scope']);
    assert.deepEqual(
      frames.flatMap((frame) => (frame.type === 'event' ? [`${frame.id} ${frame.event.status}`] : [])),
      [`${id}_1 queued`, `${id}_2 running`, `${id}_3 succeeded`],
    );
    await open(page, foreign);
    assert.equal(await socketIn(page, url, [streamProtocol, streamTokenPrefix + token]), 'closed 1006');
  },
);

test('a result that is a page does not run, wherever a person opens it', options, async (t) => {
  const html = '<!doctype html><title>still</title><script>document.title = "ran"; window.ran = true</script><p>Hello';
  const backend = await backendFor(t, () => ({ headers: { 'Content-Type': 'text/html; charset=utf-8' }, body: html }));
  const server = await serverFor(t, { services: { pages: { target: { url: backend.url } } } });
  const { id, status, result } = await submit(server.url, 'pages', { body: 'x' });
  await ended(status);
  const page = await pageFor(t);
  await page.goto(backend.url);
  assert.equal(await page.title(), 'ran', 'the backend has a page that runs');
  for (const path of [result, `${server.url}/v1/operations/${id}/result?envelope=json`]) {
    const answer = await page.goto(path);
    assert.equal(answer?.status(), 200);
    assert.match(await page.content(), /Hello/, 'it is shown');
    assert.notEqual(await page.title(), 'ran');
  }
});
