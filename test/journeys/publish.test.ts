// Facts are published in every form there is, keep their bytes and their order, are known again when they are repeated, and are read page by page.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get, post } from '../support/http.ts';
import { assertProblem } from '../support/operations.ts';
import { serverFor } from '../support/server.ts';
import { pullEvents, putSubscription } from '../support/subscribers.ts';
import { allEvents, batched, cloudEvent, eventPage, eventsUrl, publish, structured } from '../support/topics.ts';

/** Numbers that a parser would change, a key that stands twice, white space: all of it is the publisher's. */
const odd = '{ "n": 1e999, "big": 9007199254740993,\n "twice": 1, "twice": 2, "half": "\\ud800" }';
const bytes = Buffer.from([0, 255, 128, 10, 13]);

test('every mode ends as the same kind of event, and data keeps its bytes', async (t) => {
  const server = await serverFor(t);
  const one = await publish(server.url, 'orders.placed', {
    headers: structured,
    body: `{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","vip":true,"data": ${odd} }`,
  });
  assert.deepEqual(one.ids, ['1']);
  await publish(server.url, 'orders.placed', {
    headers: {
      'ce-specversion': '1.0',
      'ce-id': '2',
      'ce-source': '/shop',
      'ce-type': 'order.placed',
      'ce-subject': 'Pizza%20%C3%A4%22',
      'Content-Type': 'application/json',
    },
    body: odd,
  });
  const batch = await publish(server.url, 'orders.placed', {
    headers: batched,
    body: `[${cloudEvent('3', { data: 3 })}, ${cloudEvent('4', { datacontenttype: 'image/png', data_base64: bytes.toString('base64') })}]`,
  });
  assert.deepEqual(batch.ids, ['3', '4']);
  const wrapped = await publish(server.url, 'orders.placed', { headers: { 'Content-Type': 'image/png' }, body: bytes });
  await publish(server.url, 'orders.placed', { headers: { 'Content-Type': 'text/plain' }, body: 'two\nlines ä' });
  await publish(server.url, 'orders.placed', {});

  const answer = await get(eventsUrl(server.url, 'orders.placed'));
  // Spliced in as it came: a parser of ours would have changed it.
  assert.equal(answer.text.split(odd).length - 1, 2, answer.text);
  const { items, next } = answer.json<Awaited<ReturnType<typeof eventPage>>>();
  assert.equal(next, null);
  const events = items.map(({ event }) => event);
  assert.deepEqual(
    events.slice(0, 2).map((event) => ({ ...event, data: 'compared above, as text' })),
    [
      {
        specversion: '1.0',
        id: '1',
        source: '/shop',
        type: 'order.placed',
        vip: true,
        data: 'compared above, as text',
      },
      {
        specversion: '1.0',
        id: '2',
        source: '/shop',
        type: 'order.placed',
        subject: 'Pizza ä"',
        datacontenttype: 'application/json',
        data: 'compared above, as text',
      },
    ],
  );
  assert.deepEqual([events[2]!['data'], events[3]!['data_base64']], [3, bytes.toString('base64')]);
  const { id, source, type, time, datacontenttype, data_base64: data } = events[4]!;
  assert.deepEqual(
    [id, source, type, datacontenttype, data],
    [wrapped.ids[0], '/v1/topics/orders.placed', 'orders.placed', 'image/png', bytes.toString('base64')],
  );
  assert.ok(!Number.isNaN(Date.parse(String(time))));
  assert.equal(events[5]!['data'], 'two\nlines ä');
  assert.ok(!('data' in events[6]!) && !('datacontenttype' in events[6]!));
  assert.deepEqual(
    items.map(({ topic }) => topic),
    Array.from({ length: 7 }, () => 'orders.placed'),
  );
});

test('positions only grow, over all topics and over a restart, and a page goes on where the one before has ended', async (t) => {
  const server = await serverFor(t, { data: 'folder' });
  const positions: number[] = [];
  const say = async (topic: string, ids: readonly string[]): Promise<void> => {
    const body = `[${ids.map((id) => cloudEvent(id, { data: topic })).join()}]`;
    positions.push(...(await publish(server.url, topic, { headers: batched, body })).positions);
  };
  await say('a.one', ['1', '2', '3']);
  await say('a.two', ['4']);
  await server.restart();
  await say('a.one', ['5', '6']);
  await say('b', ['7']);
  assert.deepEqual(
    positions,
    [...new Set(positions)].toSorted((a, b) => a - b),
  );

  const read = async (pattern: string): Promise<unknown[]> => {
    const found: unknown[] = [];
    for (let after = ''; ;) {
      const page = await eventPage(server.url, pattern, `?limit=2${after}`);
      assert.ok(page.items.length <= 2);
      found.push(...page.items.map(({ event }) => event['id']));
      if (page.next === null) return found;
      after = `&after=${page.next}`;
    }
  };
  assert.deepEqual(await read('a.one'), ['1', '2', '3', '5', '6']);
  assert.deepEqual(await read('a.*'), ['1', '2', '3', '4', '5', '6']);
  assert.deepEqual(await read('**'), ['1', '2', '3', '4', '5', '6', '7']);
  assert.deepEqual(await read('#'), ['1', '2', '3', '4', '5', '6', '7']);
  assert.deepEqual(await read('*'), ['7']);
  assert.deepEqual(await read('c.**'), []);

  // The end of what there was is a place too: what comes later begins there.
  const { cursor } = await eventPage(server.url, 'a.**');
  await say('a.three', ['8']);
  const later = await eventPage(server.url, 'a.**', `?after=${cursor}`);
  assert.deepEqual(
    later.items.map(({ event, topic }) => [topic, event['id']]),
    [['a.three', '8']],
  );
  // A bare position will do as well.
  const after = await eventPage(server.url, '**', `?after=${positions[3]}`);
  assert.deepEqual(
    after.items.map(({ event }) => event['id']),
    ['5', '6', '7', '8'],
  );
});

test('a repeat of source and id is stored once: in a batch, at once from many, over a restart', async (t) => {
  const server = await serverFor(t, { data: 'folder' });
  const body = cloudEvent('same');
  const at = await Promise.all(
    Array.from({ length: 8 }, () => publish(server.url, 'facts', { headers: structured, body })),
  );
  assert.equal(new Set(at.map(({ positions }) => positions[0])).size, 1);
  assert.equal(at.filter(({ repeated }) => repeated === undefined).length, 1, 'one of them was the first');

  await server.restart();
  const again = await publish(server.url, 'facts', {
    headers: batched,
    body: `[${body},${cloudEvent('new')},${cloudEvent('same', { source: '/other' })},${cloudEvent('new')}]`,
  });
  assert.deepEqual(again.repeated, [true, false, false, true]);
  assert.equal(again.positions[0], at[0]!.positions[0]);
  assert.equal(again.positions[3], again.positions[1]);
  assert.deepEqual(
    (await allEvents(server.url, 'facts')).map(({ event }) => [event['source'], event['id']]),
    [
      ['/test', 'same'],
      ['/test', 'new'],
      ['/other', 'same'],
    ],
  );

  // A body without a name of its own is made safe to repeat by an Idempotency-Key.
  const key = { 'Idempotency-Key': '"order-17"' };
  const wrapped = [
    await publish(server.url, 'wrapped', { headers: key, body: 'x' }),
    await publish(server.url, 'wrapped', { headers: key, body: 'x' }),
    await publish(server.url, 'wrapped', { body: 'x' }),
    await publish(server.url, 'wrapped', { body: 'x' }),
  ];
  assert.deepEqual(wrapped[0]!.ids, ['order-17']);
  assert.deepEqual(
    wrapped.map(({ repeated }) => repeated),
    [undefined, [true], undefined, undefined],
  );
  assert.equal((await allEvents(server.url, 'wrapped')).length, 3);
});

test('what a 202 promises is echoed: stored, memory, and nothing, which is written all the same', async (t) => {
  const server = await serverFor(t);
  const level = (durability: string) => ({ 'Operation-Durability': durability });
  for (const durability of ['stored', 'memory']) {
    const answer = await post(eventsUrl(server.url, 'levels'), { body: durability, headers: level(durability) });
    assert.deepEqual([answer.status, answer.headers['operation-durability']], [202, durability]);
    assert.equal(answer.json<{ ids: string[] }>().ids.length, 1);
  }
  const none = await post(eventsUrl(server.url, 'levels'), { body: 'none', headers: level('none') });
  assert.deepEqual([none.status, none.headers['operation-durability'], none.body.length], [202, 'none', 0]);
  assertProblem(await post(eventsUrl(server.url, 'levels'), { headers: level('eternal') }), 400, 'invalid-parameter');
  assertProblem(
    await post(eventsUrl(server.url, 'levels'), { body: 'x', headers: { ...level('none'), 'Idempotency-Key': 'k' } }),
    400,
    'conflicting-headers',
  );
  // By a server that lives on.
  const ids = Array.from({ length: 20 }, (_, i) => `none-${i}`);
  for (const id of ids)
    await post(eventsUrl(server.url, 'forgotten'), {
      body: cloudEvent(id),
      headers: { ...structured, ...level('none') },
    });
  for (;;) {
    const found = await allEvents(server.url, 'forgotten');
    if (found.length < ids.length) continue;
    assert.deepEqual(new Set(found.map(({ event }) => event['id'])), new Set(ids));
    assert.equal(found.length, ids.length);
    break;
  }
});

test('the trace of a publish goes on with its events, unless they have one of their own', async (t) => {
  const server = await serverFor(t);
  const trace = (digit: string): string => `00-${digit.repeat(32)}-${digit.repeat(16)}-01`;
  await publish(server.url, 'traced', {
    headers: { ...batched, traceparent: trace('a'), tracestate: 'vendor=1' },
    body: `[${cloudEvent('1')},${cloudEvent('2', { traceparent: trace('b') })}]`,
  });
  await publish(server.url, 'traced', { headers: { traceparent: 'none' }, body: 'x' });
  assert.deepEqual(
    (await allEvents(server.url, 'traced')).map(({ event }) => [event['traceparent'], event['tracestate']]),
    [
      [trace('a'), 'vendor=1'],
      [trace('b'), undefined],
      [undefined, undefined],
    ],
  );
});

test('whoever stands in a history that is not this one is told so, and gets what is kept', async (t) => {
  const server = await serverFor(t);
  await publish(server.url, 'facts', { headers: structured, body: cloudEvent('1') });
  const beyond = await eventPage(server.url, 'facts', '?after=999');
  assert.deepEqual([beyond.reset?.reason, beyond.items.length], ['history', 1]);
  const { cursor } = await eventPage(server.url, 'facts');
  assert.equal((await eventPage(server.url, 'facts', `?after=${cursor}`)).reset, undefined);
  const foreign = cursor.replace(/-.*/, `-${'0'.repeat(32)}`);
  const other = await eventPage(server.url, 'facts', `?after=${foreign}`);
  assert.deepEqual([other.reset?.reason, other.items.length], ['history', 1]);
  assertProblem(await get(eventsUrl(server.url, 'facts', '?after=yesterday')), 400, 'invalid-cursor');
  assertProblem(await get(eventsUrl(server.url, 'facts', '?limit=0')), 400, 'invalid-parameter');
  assertProblem(await get(eventsUrl(server.url, 'facts', '?since=1')), 400, 'invalid-parameter');
});

test('namespaces have topics of the same name and nothing in common', async (t) => {
  const server = await serverFor(t, { namespaces: ['red', 'blue'] });
  const as = (namespace: string) => ({ key: server.key(namespace) });
  const red = await publish(server.url, 'facts', { ...as('red'), headers: structured, body: cloudEvent('1') });
  const blue = await publish(server.url, 'facts', { ...as('blue'), headers: structured, body: cloudEvent('1') });
  assert.deepEqual([red.repeated, blue.repeated], [undefined, undefined], 'nobody is told what another one has');
  await publish(server.url, 'secrets', { ...as('red'), body: 'x' });
  assert.deepEqual(
    (await allEvents(server.url, '**', as('blue'))).map(({ topic }) => topic),
    ['facts'],
  );
  assertProblem(await get(eventsUrl(server.url, 'facts')), 401, 'unauthenticated');
});

test('the key of a publish, or of one event in it, orders what a subscription is given', async (t) => {
  const server = await serverFor(t);
  await putSubscription(server.url, 'sorted', { topic: 'steps', target: { pull: true }, ordered: true });
  await publish(server.url, 'steps', {
    headers: { ...batched, 'Ordering-Key': 'alice' },
    body: `[${cloudEvent('a1')},${cloudEvent('a2', { partitionkey: 'alice' })}]`,
  });
  await publish(server.url, 'steps', {
    headers: batched,
    body: `[${cloudEvent('b1', { partitionkey: 'bob' })},${cloudEvent('b2', { partitionkey: 'bob' })},${cloudEvent('free')}]`,
  });
  const given: string[][] = [];
  let settle: { token: string; ack: true }[] = [];
  while (given.flat().length < 5) {
    const { leases } = await pullEvents(server.url, 'sorted', { max: 10, waitSeconds: 20, settle });
    given.push(leases.map(({ event }) => event.id));
    settle = leases.map(({ token }) => ({ token, ack: true }));
  }
  const all = given.flat();
  assert.deepEqual(new Set(all), new Set(['a1', 'a2', 'b1', 'b2', 'free']));
  for (const [before, after] of [
    ['a1', 'a2'],
    ['b1', 'b2'],
  ] as const)
    assert.ok(
      given.findIndex((ids) => ids.includes(before)) < given.findIndex((ids) => ids.includes(after)),
      `${after} is given once ${before} is through: ${JSON.stringify(given)}`,
    );
  const { items } = await eventPage(server.url, 'steps');
  assert.deepEqual(
    Object.keys(items[0]!.event),
    ['specversion', 'id', 'source', 'type'],
    'the header goes nowhere else',
  );
});
