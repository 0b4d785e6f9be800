// What is published runs where there is no Node: nothing of it is imported, and nothing of it is touched.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { LeaseRequest } from '@waitless/protocol';
import { json, problem, receipt, serve } from './support.test.ts';

const folders = ['../dist/', '../../protocol/dist/'].map((path) => fileURLToPath(new URL(path, import.meta.url)));
const built = folders.flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.js'))
    .map((name) => ({ path: folder + name, text: readFileSync(folder + name, 'utf8') })),
);

test('no built file of the client or the protocol imports from Node or from anybody else', () => {
  assert.ok(built.length > 20, 'the packages are built');
  for (const { path, text } of built) {
    for (const [, specifier] of text.matchAll(/^(?:import|export)\b(?:[^'";]*?\bfrom)? *['"]([^'"]+)['"]/gm))
      assert.match(specifier!, /^(?:\.{1,2}\/(?:[a-z-]+\/)?[a-z-]+\.js|@waitless\/protocol)$/, path);
    assert.doesNotMatch(text, /\bimport\(|\brequire\(|\bnode:/, path);
  }
});

test('requests, workers and events work where only the globals of a browser exist', { timeout: 30_000 }, async (t) => {
  let published = '';
  const { url, seen } = await serve(t, ({ method, url: path, body }, response) => {
    if (path === '/v1/services/jobs/leases') {
      const { waitSeconds, settle = [] } = JSON.parse(body.toString()) as LeaseRequest;
      const first = seen.filter((one) => one.url === path).length === 1;
      const operation = { ...receipt, service: 'jobs' };
      const request = { method: 'POST', path: '', query: '', headers: [], body: 'x' };
      const lease = { token: 't', operation, request, attempt: 1, lastAttempt: false, deadline: null };
      if (first) json(response, 200, { settled: [], leases: [lease] });
      else if (!waitSeconds) json(response, 200, { settled: settle.map(() => ({ status: 200 })), leases: [] });
    } else if (path === '/v1/topics/orders/events' && method === 'POST') {
      published = body.toString();
      json(response, 202, { ids: ['e1'], positions: [1] });
    } else if (path === '/v1/topics/orders/events?from=start') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      const event = (JSON.parse(published) as unknown[])[0];
      response.write(`id: 1-h\ntopic: orders\nposition: 1\nevent: event\ndata: ${JSON.stringify(event)}\n\n`);
    } else if (path.startsWith('/v1/leases/t/')) json(response, 200, { status: 'recorded' });
    else if (path === '/v1/call/unknown') problem(response, 404, 'unknown-service');
    else if (method === 'POST') json(response, 202, receipt, { 'Operation-Id': 'op1' });
    else response.writeHead(200, { 'Operation-Id': 'op1', 'Operation-Status': 'succeeded' }).end(seen[0]!.body);
  });
  const realm = fileURLToPath(new URL('browser-realm.test.ts', import.meta.url));
  const child = spawn(process.execPath, ['--experimental-vm-modules', '--no-warnings', realm, url], {
    stdio: ['ignore', 'ignore', 'pipe'],
    // The test runner's own settings would make a test of it.
    env: { PATH: process.env['PATH'] },
  });
  t.after(() => child.kill());
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const [code] = (await once(child, 'close')) as [number | null];
  assert.equal(code, 0, errors);
  const answered = seen.some(({ url: path, body }) => path.startsWith('/v1/leases/t/') || body.includes('"settle"'));
  assert.ok(answered, 'the worker answered');
});

test('the client stays small', (t) => {
  const text = built.map((file) => file.text.replace(/^\s*(?:\/\/|\/?\*).*$/gm, '').replace(/^\s+/gm, '')).join('');
  const packed = gzipSync(text).length;
  t.diagnostic(`client and protocol without comments: ${text.length} bytes, ${packed} gzipped`);
  assert.ok(text.length > 20_000, 'it is all there');
  // With long-polling alone it was below 30,000, with a WebSocket below 38,000. Publishing, following and consuming events are 6,000 more, and the names,
  // errors and schemas of their routes 4,000.
  assert.ok(packed < 48_000, `${packed} bytes gzipped`);
});
