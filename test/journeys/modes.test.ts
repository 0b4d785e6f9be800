// Synchronous, hybrid and asynchronous submits are one thing: they differ only in how long the caller holds the line.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Operation, TimelineEntry } from '@waitless/protocol';
import { backendFor, gate } from '../support/backend.ts';
import { get, post } from '../support/http.ts';
import { resultOf, statusOf } from '../support/operations.ts';
import { serverFor } from '../support/server.ts';

/** What is left of a status document when everything that names or dates one operation is taken out. */
function model({ id, correlationId, service, createdAt, ...rest }: Operation): unknown {
  const text = JSON.stringify(rest)
    .replaceAll(id, 'ID')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME');
  assert.equal(correlationId, id);
  assert.ok(service.length > 0 && createdAt.length > 0);
  return JSON.parse(text);
}

test('sync, hybrid and async submits share one code path: the same operation, timeline and result come of each', async (t) => {
  const held = gate();
  const backend = await backendFor(t, async ({ target }) => {
    if (target.startsWith('/hybrid')) await held.opened;
    return { status: 201, headers: { 'Content-Type': 'text/x-score', 'X-Score': '7' }, body: 'seven' };
  });
  const target = { target: { url: backend.url } };
  const server = await serverFor(t, {
    services: {
      asynchronous: target,
      synchronous: { ...target, mode: 'sync' },
      hybrid: { ...target, mode: 'sync', syncWait: '10ms' },
    },
  });

  const sync = await post(`${server.url}/v1/call/synchronous/sync`, { body: 'x' });
  const asked = await post(`${server.url}/v1/call/asynchronous/asked`, { body: 'x', headers: { Prefer: 'wait=30' } });
  const hybrid = await post(`${server.url}/v1/call/hybrid/hybrid`, { body: 'x' });
  held.open();
  const async = await post(`${server.url}/v1/call/asynchronous/async`, { body: 'x' });

  assert.deepEqual([sync.status, asked.status, hybrid.status, async.status], [201, 201, 202, 202]);
  assert.equal(asked.headers['preference-applied'], 'wait=30');
  const models = [];
  const timelines = [];
  const results = [];
  for (const answer of [sync, asked, hybrid, async]) {
    const id = answer.headers['operation-id']!;
    const result = await resultOf(`${server.url}/v1/operations/${id}/result`);
    const { status, headers, text } = result;
    results.push({
      status,
      text,
      type: headers['content-type'],
      score: headers['x-score'],
      ended: headers['operation-status'],
    });
    models.push(model(await statusOf(`${server.url}/v1/operations/${id}`)));
    const { items } = (await get(`${server.url}/v1/operations/${id}/timeline`)).json<{ items: TimelineEntry[] }>();
    timelines.push(
      items.map(({ type, outcome, backendStatus, status: end }) => ({ type, outcome, backendStatus, end })),
    );
    if (answer.status === 201) {
      assert.equal(answer.text, 'seven', 'the answer to the submit is the result itself');
      assert.equal(answer.headers['etag'], headers['etag']);
      assert.equal(answer.headers['operation-status'], 'succeeded');
      assert.equal(answer.headers['content-location'], headers['content-location']);
    }
  }
  for (const list of [models, timelines, results]) for (const one of list) assert.deepEqual(one, list[0]);
  assert.deepEqual(backend.requests.map(({ target: path }) => path).sort(), ['/asked', '/async', '/hybrid', '/sync']);
});

test('Prefer: respond-async answers 202 where the service would hold the line', async (t) => {
  const backend = await backendFor(t);
  const server = await serverFor(t, { services: { score: { target: { url: backend.url }, mode: 'sync' } } });

  const answer = await post(`${server.url}/v1/call/score`, { body: 'x', headers: { Prefer: 'respond-async' } });

  assert.equal(answer.status, 202);
  assert.equal(answer.headers['preference-applied'], 'respond-async');
  assert.equal((await resultOf(answer.headers['location']!)).text, 'done');
});

test('unknown and malformed preferences are ignored', async (t) => {
  const backend = await backendFor(t);
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });

  for (const prefer of ['wait=soon', 'wait=-1', 'handling=lenient', 'wait', ';;;', 'return=minimal, foo']) {
    const answer = await post(`${server.url}/v1/call/score`, { headers: { Prefer: prefer } });
    assert.equal(answer.status, 202, prefer);
    assert.equal(answer.headers['preference-applied'], undefined, prefer);
  }
});

test('a failed operation answers its synchronous caller exactly as it answers a look-up', async (t) => {
  const backend = await backendFor(t, () => ({
    status: 422,
    headers: { 'Content-Type': 'application/json' },
    body: '{"why":1e999}',
  }));
  const server = await serverFor(t, { services: { score: { target: { url: backend.url }, mode: 'sync' } } });

  const answer = await post(`${server.url}/v1/call/score`, { body: 'x' });
  const looked = await get(`${server.url}/v1/operations/${answer.headers['operation-id']}/result`);

  for (const { status, headers, text } of [answer, looked]) {
    assert.equal(status, 422);
    assert.equal(text, '{"why":1e999}');
    assert.equal(headers['operation-status'], 'failed');
    assert.equal(headers['content-type'], 'application/json');
  }
});
