// Following topics: each event once and in order over lost streams, and a gap is never silent.
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { createClient, type HistoryReset, type LiveEvent } from './index.ts';
import { json, problem, serve } from './support.test.ts';

const begin = (response: ServerResponse): void => {
  if (!response.headersSent) response.writeHead(200, { 'Content-Type': 'text/event-stream' });
};
const tell = (response: ServerResponse, position: number, data = '1', topic = 'orders.placed'): void => {
  begin(response);
  const event = `{"specversion":"1.0","id":"e${position}","source":"s","type":"t","data":${data}}`;
  response.write(`id: ${position}-h\ntopic: ${topic}\nposition: ${position}\nevent: event\ndata: ${event}\n\n`);
};
const seams = { random: () => 1, sleep: () => Promise.resolve() };

/** The first events, and then the loop is left. */
async function first(count: number, events: AsyncIterable<LiveEvent>): Promise<LiveEvent[]> {
  const found: LiveEvent[] = [];
  for await (const event of events) if (found.push(event) === count) break;
  return found;
}

test('a stream that breaks is taken up where it stood, from its first sign on, and told as the topic was', async (t) => {
  const asked: [string, string | undefined][] = [];
  const { url } = await serve(t, ({ url: path, headers }, response) => {
    assert.equal(headers.accept, 'text/event-stream');
    asked.push([path, headers['last-event-id'] as string | undefined]);
    if (asked.length === 1) {
      // Nothing was told yet, but from where on something will be.
      begin(response);
      response.write('id: 4-h\n\n');
      setImmediate(() => response.destroy());
    } else if (asked.length === 2) {
      tell(response, 5, '{"a" : 1e999}');
      response.end();
    } else if (asked.length === 3) problem(response, 503, 'shutting-down');
    else tell(response, 9, '"x"', 'orders.ready');
  });
  const troubles: string[] = [];
  const client = createClient({ url, seams });
  const filter = { prefix: { type: 'order.' } };
  const events = await first(2, client.subscribe('orders.**', { filter, onRetry: ({ code }) => troubles.push(code) }));
  assert.deepEqual(
    events.map(({ topic, position, cursor, id }) => [topic, position, cursor, id]),
    [
      ['orders.placed', 5, '5-h', 'e5'],
      ['orders.ready', 9, '9-h', 'e9'],
    ],
  );
  assert.equal(events[0]!.text(), '{"a" : 1e999}');
  const path = `/v1/topics/orders.**/events?${new URLSearchParams({ filter: JSON.stringify(filter) }).toString()}`;
  assert.deepEqual(asked, [[path, undefined], [path, '4-h'], [path, '5-h'], [path, '5-h']]); // prettier-ignore
  assert.deepEqual(troubles, ['unreachable', 'shutting-down']);
});

test('what cannot be told is an error, or is told to whoever wants to go on', async (t) => {
  const reset = { reason: 'removed', from: 3, to: 7, detail: 'it was removed' };
  const { url, seen } = await serve(t, (_, response) => {
    begin(response);
    response.write(`id: 3-h\nevent: reset\ndata: ${JSON.stringify({ type: 'reset', ...reset })}\n\n`);
    tell(response, 8);
  });
  const client = createClient({ url, seams });
  await assert.rejects(first(1, client.subscribe('orders', { from: 3 })), {
    code: 'events-lost',
    retry: false,
    message: 'it was removed.',
    members: reset,
  });
  assert.equal(seen[0]!.url, '/v1/topics/orders/events?from=3');
  const told: HistoryReset[] = [];
  const [event] = await first(1, client.subscribe('orders', { from: 'start', onReset: (one) => told.push(one) }));
  assert.deepEqual([event!.position, told], [8, [reset]]);
});

test('what repeating cannot mend is thrown, the signal ends a silent stream, and leaving the loop ends its connection', async (t) => {
  const closed = Promise.withResolvers<void>();
  const controller = new AbortController();
  const { url } = await serve(t, ({ url: path }, response) => {
    if (path.includes('/refused/')) problem(response, 400, 'invalid-filter');
    else if (path.includes('/page/')) json(response, 200, { items: [] });
    else if (path.includes('/other/')) {
      begin(response);
      response.write('id: 1\ndata: hello\n\n');
    } else if (path.includes('/silent/')) {
      begin(response);
      response.flushHeaders();
      controller.abort(new Error('enough'));
    } else {
      response.on('close', () => closed.resolve());
      tell(response, 1);
    }
  });
  const client = createClient({ url, seams });
  await assert.rejects(first(1, client.subscribe('refused')), { code: 'invalid-filter' });
  await assert.rejects(first(1, client.subscribe('page')), { code: 'unexpected-answer' });
  await assert.rejects(first(1, client.subscribe('other')), { code: 'unexpected-answer' });
  await assert.rejects(first(1, client.subscribe('a/b')), { code: 'invalid-name' });
  await assert.rejects(first(1, client.subscribe('silent', { signal: controller.signal })), { message: 'enough' });
  await first(1, client.subscribe('orders'));
  await closed.promise;
});
