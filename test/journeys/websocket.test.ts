// One WebSocket for all of it: many requests at once, their events as they happen, and work that is taken and answered on the same connection.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import type { EventFrame, OperationEvent, SubmitFrame } from '@waitless/protocol';
import { get, post, until } from '../support/http.ts';
import { ended, statusOf, submit } from '../support/operations.ts';
import { answerLease, leaseCall, reply, takeOne } from '../support/pull-worker.ts';
import { serverFor, type TestServer } from '../support/server.ts';
import { as, type Channel, channelTo } from '../support/web-socket.ts';

const jobs = { target: { pull: true }, retry: { initialDelay: '1ms', maxDelay: '1ms' }, lease: '60s' };
const services = { jobs };

/** Whether it was put off is known while it is, and not to those who ask later. */
const asAskedLater = (event: OperationEvent): OperationEvent => {
  if (event.version > 1) return event;
  const { runAt: _, ...rest } = event;
  return rest;
};

const eventsOf = async (server: TestServer, id: string): Promise<OperationEvent[]> => {
  const headers = { Accept: 'application/json' };
  const { items } = (await get(`${server.url}/v1/operations/${id}/events`, { headers })).json<{
    items: OperationEvent[];
  }>();
  return items.map(asAskedLater);
};

const versions = (events: readonly EventFrame[]): number[] => events.map(({ event }) => event.version);
const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);

/** A worker that answers each lease with what it got. */
async function echo(
  t: TestContext,
  server: TestServer,
  credits: number,
): Promise<{ channel: Channel; most: () => number }> {
  const channel = await channelTo(t, server.url);
  let held = 0;
  let most = 0;
  let seen = 0;
  channel.ws.on('message', () => {
    for (; seen < channel.frames.length; seen++) {
      const frame = channel.frames[seen]!;
      if (frame.type !== 'lease') continue;
      most = Math.max(most, ++held);
      const { token, request } = frame;
      setImmediate(() => {
        held--;
        channel.send({ type: 'reply', token, headers: { 'Content-Type': 'text/plain' }, body: `echo ${request.body}` });
      });
    }
  });
  as('ok', await channel.ask({ type: 'work', service: 'jobs', credits, worker: 'echo-1' }));
  return { channel, most: () => most };
}

test('one socket carries a hundred requests at once, and each gets its own answer', async (t) => {
  const server = await serverFor(t, { services });
  const client = await channelTo(t, server.url);
  const worker = await echo(t, server, 7);
  const frames = upTo(100).map((n): SubmitFrame => ({
    type: 'submit',
    ref: `r${n}`,
    service: 'jobs',
    body: `no ${n}`,
    watch: 'end',
    include: 'result',
  }));
  client.send(...frames.slice(0, 50));
  for (const frame of frames.slice(50)) client.send(frame);
  for (const { ref, body } of frames) {
    const accepted = await client.frame('accepted', (frame) => frame.ref === ref);
    const told = await client.frame('event', (frame) => frame.ref === ref);
    assert.equal(told.event.id, accepted.operation!.id);
    assert.equal(told.event.status, 'succeeded');
    assert.equal(told.id, told.event.eventId);
    assert.deepEqual(told.result, {
      status: 200,
      headers: [['Content-Type', 'text/plain']],
      body: `echo ${body as string}`,
    });
  }
  assert.equal(client.all('event').length, 100, 'one event each: the last one');
  assert.ok(worker.most() <= 7, `held ${worker.most()} leases with 7 credits`);
  assert.equal(worker.channel.all('error').length, 0);
});

test('what a socket tells is what the other outlets tell, under the same ids: progress, a failed attempt, and every kind of end', async (t) => {
  const server = await serverFor(t, { services });
  const client = await channelTo(t, server.url);
  const worker = await channelTo(t, server.url);
  as('ok', await worker.ask({ type: 'work', service: 'jobs', credits: 1 }));
  const answer = {
    succeeded: { type: 'reply', body: { fine: 1 } },
    elsewhere: { type: 'reply', status: 303, headers: { Location: 'https://example.com/there' } },
    refused: { type: 'reply', status: 404, body: 'none of ours' },
    failed: { type: 'fail', code: 'no-paint', message: 'we ran out', retry: false },
  } as const;
  const operations: { id: string; kind: string }[] = [];
  for (const [kind, end] of Object.entries(answer)) {
    const accepted = as(
      'accepted',
      await client.ask({ type: 'submit', service: 'jobs', body: kind, headers: { 'Correlation-Id': `c-${kind}` } }),
    );
    const { id } = accepted.operation!;
    operations.push({ id, kind });
    as('ok', await client.ask({ type: 'watch', operations: [id] }));
    const first = await worker.frame('lease', ({ operation }) => operation.id === id);
    as('ok', await worker.ask({ type: 'fail', token: first.token, code: 'once', message: 'again, please' }));
    const second = await worker.frame('lease', ({ operation, attempt }) => operation.id === id && attempt === 2);
    for (const stage of ['bureau 1', 'bureau 2', 'bureau 3'])
      as('ok', await worker.ask({ type: 'progress', token: second.token, stage, percent: 50, data: { of: [1, 2] } }));
    as('ok', await worker.ask({ ...end, token: second.token }));
    await client.frame('event', ({ event }) => event.id === id && event.done);
  }
  const cancelled = as(
    'accepted',
    await client.ask({ type: 'submit', service: 'jobs', body: 'x', watch: 'all' }),
  ).operation!;
  const doomed = await worker.frame('lease', ({ operation }) => operation.id === cancelled.id);
  assert.equal(as('ok', await client.ask({ type: 'cancel', id: cancelled.id })).operation!.status, 'cancelled');
  await client.frame('event', ({ event }) => event.id === cancelled.id && event.done);
  assert.equal(as('error', await worker.ask({ type: 'extend', token: doomed.token })).problem.code, 'cancelled');
  assert.equal(
    as('error', await worker.ask({ type: 'reply', token: doomed.token, body: 'late' })).problem.code,
    'cancelled',
  );
  operations.push({ id: cancelled.id, kind: 'cancelled' });
  for (const { id, kind } of operations) {
    const told = client.all('event').filter(({ event }) => event.id === id);
    assert.deepEqual(
      told.map(({ event }) => asAskedLater(event)),
      await eventsOf(server, id),
      kind,
    );
    const stages = told.flatMap(({ event }) =>
      event.progress ? [[event.progress.sequence, event.progress.stage]] : [],
    );
    if (kind !== 'cancelled')
      assert.deepEqual(
        stages,
        [
          [1, 'bureau 1'],
          [2, 'bureau 2'],
          [3, 'bureau 3'],
        ],
        kind,
      );
  }
});

test('a request that is watched to its end alone is told of the same last event, with its result where that is wanted', async (t) => {
  const server = await serverFor(t, { services });
  const client = await channelTo(t, server.url);
  const worker = await channelTo(t, server.url);
  as('ok', await worker.ask({ type: 'work', service: 'jobs', credits: 1 }));
  const ends = [
    {
      answer: { type: 'reply', body: { fine: 1 }, headers: { 'content-type': 'application/json' } },
      result: { status: 200, headers: [['content-type', 'application/json']], body: { fine: 1 } },
    },
    { answer: { type: 'reply', bodyBase64: '/wA=' }, result: { status: 200, headers: [], bodyBase64: '/wA=' } },
    { answer: { type: 'reply', status: 303, headers: { Location: 'https://example.com/there' } }, result: undefined },
    { answer: { type: 'fail', code: 'no-paint', message: 'we ran out', retry: false }, result: null },
    { answer: { type: 'reply', body: 'x'.repeat(70_000) }, result: null },
  ] as const;
  for (const { answer, result } of ends) {
    const { operation } = as(
      'accepted',
      await client.ask({ type: 'submit', service: 'jobs', body: 'x', watch: 'end', include: 'result' }),
    );
    const { token } = await worker.frame('lease', (lease) => lease.operation.id === operation!.id);
    as('ok', await worker.ask({ ...answer, token } as never));
    const told = await client.frame('event', ({ event }) => event.id === operation!.id);
    assert.deepEqual(told.event, (await eventsOf(server, operation!.id)).at(-1));
    if (result !== undefined) assert.deepEqual(told.result, result);
  }
  const { operation } = as(
    'accepted',
    await client.ask({ type: 'submit', service: 'jobs', body: 'x', watch: 'end', include: 'result' }),
  );
  as('ok', await client.ask({ type: 'cancel', id: operation!.id }));
  const told = await client.frame('event', ({ event }) => event.id === operation!.id);
  assert.deepEqual([told.event.status, told.result], ['cancelled', null]);
});

test('a connection that is lost goes on after the last event, without a gap and without one told twice', async (t) => {
  const server = await serverFor(t, { services, data: 'folder' });
  const { id } = await submit(server.url, 'jobs', { body: 'x' });
  const { token } = await takeOne(server.url, 'jobs', { leaseSeconds: 300 });
  const told: EventFrame[] = [];
  const watched = async (): Promise<Channel> => {
    const channel = await channelTo(t, server.url);
    const last = told.at(-1);
    channel.send({ type: 'watch', ref: 'w', operations: [id], ...(last ? { after: { [id]: last.id } } : {}) });
    return channel;
  };
  for (let round = 0; round < 5; round++) {
    const channel = await watched();
    const stage = `stage ${round}`;
    await answerLease(server.url, token, 'progress', { body: { stage } });
    await channel.frame('event', ({ event }) => event.progress?.stage === stage);
    told.push(...channel.all('event'));
    // Something happens while nobody is connected; and once the server is another one when the client comes back.
    channel.ws.terminate();
    await channel.closed;
    await answerLease(server.url, token, 'progress', { body: { stage: `unseen ${round}` } });
    if (round === 2) await server.restart();
  }
  const channel = await watched();
  await reply(server.url, token, 'done');
  await channel.frame('event', ({ event }) => event.done);
  told.push(...channel.all('event'));
  assert.deepEqual(versions(told), upTo(13));
  assert.deepEqual(
    told.map(({ event }) => asAskedLater(event)),
    await eventsOf(server, id),
  );
});

test('where events cannot go on from what a client names it is told so, and where the operation stands', async (t) => {
  const server = await serverFor(t, { services });
  const first = await submit(server.url, 'jobs', { body: 'x' });
  const channel = await channelTo(t, server.url);
  const { token } = await takeOne(server.url, 'jobs');
  for (const after of ['nonsense', `${first.id}_99`, `${first.id}_-1`, `${first.id}_2'; drop table`]) {
    const ref = `after ${after}`;
    channel.send({ type: 'watch', ref, operations: [first.id], after: { [first.id]: after } });
    const reset = await channel.frame('reset', (frame) => frame.ref === ref);
    assert.equal(reset.operation.id, first.id);
    assert.equal(reset.id, reset.operation.eventId);
    assert.equal(reset.operation.status, 'running');
  }
  await reply(server.url, token, 'done');
  const ends = await until(async () => {
    const found = channel.all('event').filter(({ event }) => event.done);
    return found.length === 4 ? found : undefined;
  });
  assert.deepEqual(new Set(ends!.map(({ event }) => event.eventId)).size, 1);
  assert.equal(channel.all('event').length, 4, 'nothing from before the reset');
  const { eventId } = await ended(first.status);
  channel.send({ type: 'watch', ref: 'over', operations: [first.id], after: { [first.id]: eventId } });
  assert.equal((await channel.frame('reset', (frame) => frame.ref === 'over')).operation.done, true);
});

test('of several operations one that is not there is refused alone, and unwatch ends what it names', async (t) => {
  const server = await serverFor(t, { services });
  const [one, two] = [await submit(server.url, 'jobs', { body: '1' }), await submit(server.url, 'jobs', { body: '2' })];
  const channel = await channelTo(t, server.url);
  const unknown = `${'0'.repeat(32)}00${one.id.slice(34)}`;
  channel.send({ type: 'watch', ref: 'all', operations: [one.id, unknown, two.id] });
  const error = await channel.frame('error');
  assert.deepEqual([error.ref, error.id, error.problem.code], ['all', unknown, 'not-found']);
  for (const { id } of [one, two]) await channel.frame('event', ({ event }) => event.id === id);
  channel.send({ type: 'watch', ref: 'again', operations: [two.id] });
  await channel.frame('event', (frame) => frame.ref === 'again');
  as('ok', await channel.ask({ type: 'unwatch', operations: [one.id] }));
  as('ok', await channel.ask({ type: 'unwatch', operations: [two.id], watch: 'all' }));
  for (const { id } of [one, two])
    assert.equal((await post(`${server.url}/v1/operations/${id}`, { method: 'DELETE' })).status, 200);
  await channel.frame('event', ({ ref, event }) => ref === 'again' && event.done);
  // Whatever was told of the others would have come before this.
  as('pong', await channel.ask({ type: 'ping' }));
  assert.deepEqual(
    channel
      .all('event')
      .filter(({ event }) => event.done)
      .map(({ ref }) => ref),
    ['again'],
  );
});

test('a worker holds as many leases as it has credits, none while they are 0, and more when they grow', async (t) => {
  const server = await serverFor(t, { services });
  const worker = await channelTo(t, server.url);
  as('ok', await worker.ask({ type: 'work', service: 'jobs', credits: 2, worker: 'anna' }));
  for (let n = 0; n < 6; n++) await submit(server.url, 'jobs', { body: `${n}` });
  const [first, second] = (await until(() => (worker.all('lease').length === 2 ? worker.all('lease') : undefined)))!;
  as('ok', await worker.ask({ type: 'work', service: 'jobs', credits: 0 }));
  as('ok', await worker.ask({ type: 'reply', token: first!.token, body: 'a' }));
  // Another worker gets what this one has no credits for, and this one was given none of it.
  const other = (await leaseCall(server.url, 'jobs', { max: 1 })).leases;
  assert.equal(other.length, 1);
  assert.equal(worker.all('lease').length, 2);
  as('ok', await worker.ask({ type: 'work', service: 'jobs', credits: 3 }));
  await until(() => worker.all('lease').length === 4 || undefined);
  as('ok', await worker.ask({ type: 'release', token: second!.token }));
  // It is free again, and whoever asks first gets it: this worker itself.
  await until(() => worker.all('lease').length === 5 || undefined);
  const { operation } = worker.all('lease')[2]!;
  assert.equal((await statusOf(`${server.url}/v1/operations/${operation.id}`)).status, 'running');
});

test('what a worker held that is killed goes to the next one at once, with the attempt it had', async (t) => {
  const server = await serverFor(t, { services });
  const doomed = await channelTo(t, server.url);
  as('ok', await doomed.ask({ type: 'work', service: 'jobs', credits: 10 }));
  const operations = await Promise.all(upTo(10).map((n) => submit(server.url, 'jobs', { body: `${n}` })));
  await until(() => doomed.all('lease').length === 10 || undefined);
  const heir = await channelTo(t, server.url);
  as('ok', await heir.ask({ type: 'work', service: 'jobs', credits: 10 }));
  doomed.ws.terminate();
  // The leases would last for a minute.
  await until(() => heir.all('lease').length === 10 || undefined);
  const got = heir.all('lease');
  assert.deepEqual(new Set(got.map(({ operation }) => operation.id)), new Set(operations.map(({ id }) => id)));
  assert.ok(got.every(({ attempt }) => attempt === 1));
  const [stale, fresh] = [
    doomed.all('lease')[0]!,
    got.find(({ operation }) => operation.id === doomed.all('lease')[0]!.operation.id)!,
  ];
  assert.equal(
    as('error', await heir.ask({ type: 'reply', token: stale.token, body: 'late' })).problem.code,
    'lease-lost',
  );
  as('ok', await heir.ask({ type: 'reply', token: fresh.token, body: 'right' }));
  const again = as('ok', await heir.ask({ type: 'reply', token: fresh.token, body: 'right' }));
  assert.equal(again.status, 'repeated');
  assert.equal(
    as('error', await heir.ask({ type: 'reply', token: fresh.token, body: 'other' })).problem.code,
    'result-already-recorded',
  );
});

test('a reply over HTTP frees its place with a release, and a request that nobody keeps has a place as well', async (t) => {
  const server = await serverFor(t, { services });
  const worker = await channelTo(t, server.url);
  as('ok', await worker.ask({ type: 'work', service: 'jobs', credits: 1 }));
  const large = await submit(server.url, 'jobs', { body: 'x' });
  const { token } = await worker.frame('lease');
  assert.equal((await reply(server.url, token, 'y'.repeat(500_000))).status, 200);
  assert.equal(as('error', await worker.ask({ type: 'release', token })).problem.code, 'result-already-recorded');
  assert.equal((await ended(large.status)).status, 'succeeded');
  const client = await channelTo(t, server.url);
  for (let n = 0; n < 3; n++) {
    const accepted = as(
      'accepted',
      await client.ask({ type: 'submit', service: 'jobs', body: `${n}`, headers: { 'Operation-Durability': 'none' } }),
    );
    assert.equal(accepted.operation, undefined);
    const lease = await worker.frame(
      'lease',
      ({ request, operation }) => operation.id === 'none' && request.body === `${n}`,
    );
    as('ok', await worker.ask({ type: 'reply', token: lease.token, body: 'thanks' }));
  }
});

test('a submit means what it does over HTTP: a repeat, a stored result, a service that is not there, a body byte for byte', async (t) => {
  const server = await serverFor(t, { services: { jobs, kept: { ...jobs, key: { body: '/k' }, validFor: '1h' } } });
  const client = await channelTo(t, server.url);
  const keyed: SubmitFrame = {
    type: 'submit',
    service: 'jobs',
    body: 'x',
    headers: { 'Idempotency-Key': 'k1', 'Operation-Labels': 'a=b' },
  };
  const first = as('accepted', await client.ask(keyed));
  const again = as('accepted', await client.ask(keyed));
  assert.equal(again.replayed, true);
  assert.deepEqual(again.operation, first.operation);
  assert.deepEqual(first.operation!.labels, { a: 'b' });
  assert.equal(as('error', await client.ask({ ...keyed, body: 'y' })).problem.code, 'idempotency-key-reused');
  assert.equal(as('error', await client.ask({ type: 'submit', service: 'nobody' })).problem.code, 'unknown-service');
  assert.equal(
    as('error', await client.ask({ ...keyed, headers: { Prefer: 'wait=5' } })).problem.code,
    'invalid-parameter',
  );
  const { token } = await takeOne(server.url, 'jobs');
  await reply(server.url, token, 'done');

  // Bytes that no JSON value survives.
  const verbatim = '{ "n": 12345678901234567890.0, "n" : 1e999 }';
  client.ws.send(
    `[{"type":"submit","ref":"v","service":"jobs","path":"/a%20b","query":"q=1&q=2","method":"PUT","body": ${verbatim} }]`,
  );
  await client.frame('accepted', ({ ref }) => ref === 'v');
  const lease = await takeOne(server.url, 'jobs');
  const { method, path, query, body } = lease.request;
  assert.deepEqual([method, path, query, body], ['PUT', '/a%20b', 'q=1&q=2', verbatim]);
  await reply(server.url, lease.token, 'done');

  const ask: SubmitFrame = {
    type: 'submit',
    service: 'kept',
    body: { k: 1 },
    headers: { 'Content-Type': 'application/json' },
  };
  const made = as('accepted', await client.ask(ask));
  const work = await takeOne(server.url, 'kept');
  await reply(server.url, work.token, '{"stored":true}', { 'Content-Type': 'application/json' });
  await ended(`${server.url}/v1/operations/${made.operation!.id}`);
  const hit = as('accepted', await client.ask({ ...ask, include: 'result' }));
  assert.equal(hit.stored, true);
  assert.equal(hit.operation!.id, made.operation!.id);
  assert.deepEqual(hit.result!.body, { stored: true });
  assert.match(hit.cacheStatus!, /^waitless; hit/);
  client.send({ ...ask, ref: 'watched', watch: 'all', include: 'result' });
  const told = await client.frame('event', ({ ref, event }) => ref === 'watched' && event.done);
  assert.deepEqual(told.result!.body, { stored: true });
});

test('a page with a read-only token watches what it was given and does nothing else, until the token expires', async (t) => {
  const server = await serverFor(t, { services, namespaces: ['alice'] });
  const key = server.key('alice');
  const [mine, other] = [
    await submit(server.url, 'jobs', { body: 'x', key }),
    await submit(server.url, 'jobs', { body: 'y', key }),
  ];
  const made = await post(`${server.url}/v1/tokens`, { body: { operations: [mine.id], expiresIn: '2s' }, key });
  const { token } = made.json<{ token: string }>();
  const page = await channelTo(t, server.url, { protocols: ['waitless.v1', `waitless.token.${token}`] });
  assert.equal(page.ws.protocol, 'waitless.v1');
  page.send({ type: 'watch', ref: 'w', operations: [mine.id, other.id] });
  assert.equal((await page.frame('event')).event.id, mine.id);
  assert.deepEqual((await page.frame('error')).problem.code, 'not-found');
  assert.equal((await page.frame('error')).id, other.id);
  const forbidden = [
    { type: 'submit', service: 'jobs' },
    { type: 'cancel', id: mine.id },
    { type: 'work', service: 'jobs', credits: 1 },
    { type: 'work', subscription: 's', credits: 1 },
    { type: 'release', token: 'x' },
    { type: 'ack', token: 'x' },
    { type: 'nack', token: 'x' },
  ] as const;
  for (const frame of forbidden)
    assert.equal(as('error', await page.ask(frame)).problem.code, 'insufficient-scope', frame.type);
  assert.equal((await page.closed).code, 3000);
});

test('a stop closes every socket with 1001, and what their workers held can be answered to the next server', async (t) => {
  const server = await serverFor(t, { services, data: 'folder' });
  const worker = await channelTo(t, server.url);
  as('ok', await worker.ask({ type: 'work', service: 'jobs', credits: 5 }));
  const { status } = await submit(server.url, 'jobs', { body: 'x' });
  const { token } = await worker.frame('lease');
  const client = await channelTo(t, server.url);
  const closing = once(client.ws, 'close');
  await server.restart();
  assert.equal((await closing)[0], 1001);
  assert.equal((await worker.closed).code, 1001);
  assert.equal((await statusOf(status)).status, 'running');
  const next = await channelTo(t, server.url);
  as('ok', await next.ask({ type: 'reply', token, body: 'done' }));
  assert.equal((await statusOf(status)).status, 'succeeded');
});
