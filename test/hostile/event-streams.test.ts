// Streams under attack: places that are made up or somebody else's, readers that do not read, connections that come and go, and data that would be events.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventStream } from '../support/event-stream.ts';
import { until } from '../support/http.ts';
import { type RawConnection, requestBytes } from '../support/raw-http.ts';
import { assertProblem, underAttack, type Victim } from '../support/victim.ts';
import { leaseOne, postJson } from '../support/worker.ts';
import { cutStreams } from './cut-streams-run.ts';

const services = { work: { target: { pull: true } } };

const waitersReach = (victim: Victim, count: number): Promise<true> =>
  until(async () => {
    const { text } = await victim.ask({ path: '/metrics' });
    return new RegExp(`^waitless_waiters ${count}$`, 'm').test(text) ? true : undefined;
  }, 20);

test("T57: whoever names another tenant's events learns nothing, whatever the id", async (t) => {
  await underAttack(t, { services, namespaces: ['mine', 'theirs'] }, async (victim) => {
    const submitted = async (namespace: string): Promise<string> =>
      (await victim.askAs(namespace, { method: 'POST', path: '/v1/call/work', body: 'x' })).header('operation-id')!;
    const theirs = await submitted('theirs');
    const mine = await submitted('mine');
    const unknown = `${'0'.repeat(32)}001`;
    await victim.untouchedBy(async () => {
      const answers: string[] = [];
      for (const id of [theirs, unknown, 'nonsense']) {
        for (const last of [undefined, `${id}_1`, `${mine}_1`, '-1', "1' OR '1'='1", '9'.repeat(300)]) {
          for (const accept of ['text/event-stream', 'application/json']) {
            const headers: [string, string][] = [['Accept', accept]];
            if (last !== undefined) headers.push(['Last-Event-ID', last]);
            const answer = await victim.askAs('mine', { path: `/v1/operations/${id}/events`, headers });
            assertProblem(answer, 404, 'not-found');
            answers.push(answer.json<{ detail: string }>().detail);
          }
        }
        const resubmitted = await victim.askAs('mine', {
          method: 'POST',
          path: '/v1/call/work',
          headers: [
            ['Accept', 'text/event-stream'],
            ['Last-Event-ID', `${id}_1`],
          ],
          body: 'x',
        });
        assertProblem(resubmitted, 404, 'not-found');
        answers.push(resubmitted.json<{ detail: string }>().detail);
      }
      assert.equal(new Set(answers).size, 1, 'one answer for all of them');
    });
    assertProblem(await victim.ask({ path: `/v1/operations/${mine}/events` }), 401, 'unauthenticated');
    for (const lastEventId of [
      `${theirs}_1`,
      `${theirs}_2`,
      "1' OR '1'='1",
      '9'.repeat(300),
      `${mine}_99999999999999999`,
    ]) {
      const stream = await eventStream(t, `${victim.server.url}/v1/operations/${mine}/events`, {
        key: victim.server.key('mine'),
        lastEventId,
      });
      const [reset] = await stream.when(({ event }) => event === 'reset');
      assert.doesNotMatch(JSON.stringify(reset), new RegExp(theirs));
      assert.equal((reset!.data['operation'] as { id: string }).id, mine);
      stream.destroy();
    }
  });
});

test('a place on a submit that is no event id is refused, and nothing is stored', async (t) => {
  await underAttack(t, { services }, (victim) =>
    victim.untouchedBy(async () => {
      for (const last of ['5', 'nonsense', '_1', 'a_b']) {
        const answer = await victim.ask({
          method: 'POST',
          path: '/v1/call/work',
          headers: [
            ['Accept', 'text/event-stream'],
            ['Last-Event-ID', last],
          ],
          body: 'x',
        });
        assertProblem(answer, 400, 'invalid-parameter');
        assert.match(answer.text, /Last-Event-ID/);
      }
      const none = await victim.ask({
        method: 'POST',
        path: '/v1/call/work',
        headers: [
          ['Accept', 'text/event-stream'],
          ['Operation-Durability', 'none'],
        ],
        body: 'x',
      });
      assertProblem(none, 400, 'conflicting-headers');
    }),
  );
});

test('T54: streams count as those who wait; beyond the limit the next gets 429, and nothing of a submit is stored', async (t) => {
  await underAttack(t, { services, fields: { maxWaiters: 2 } }, async (victim) => {
    const { operation } = await leaseOne(victim, 'work');
    const url = `${victim.server.url}/v1/operations/${operation.id}/events`;
    const streams = [await eventStream(t, url), await eventStream(t, url)];
    await waitersReach(victim, 2);
    await victim.untouchedBy(async () => {
      const refused = await victim.ask({ path: `/v1/operations/${operation.id}/events` });
      assertProblem(refused, 429, 'too-many-connections');
      assert.match(refused.header('retry-after') ?? '', /^\d+$/);
      const headers = [['Accept', 'text/event-stream']] as const;
      assertProblem(
        await victim.ask({ method: 'POST', path: '/v1/call/work', headers, body: 'x' }),
        429,
        'too-many-connections',
      );
      const page = await victim.ask({
        path: `/v1/operations/${operation.id}/events`,
        headers: [['Accept', 'application/json']],
      });
      assert.equal(page.status, 200, 'who does not wait is served');
    });
    streams[0]!.destroy();
    await waitersReach(victim, 1);
    const next = await eventStream(t, url);
    assert.equal(next.status, 200);
    for (const stream of [...streams, next]) stream.destroy();
  });
});

test('T55: a reader that does not read is let go, others are told all, and nothing is held for it', async (t) => {
  await underAttack(t, { services }, async (victim) => {
    const { token, operation } = await leaseOne(victim, 'work');
    const path = `/v1/operations/${operation.id}/events`;
    const slow = await victim.open();
    slow.socket.pause();
    slow.send(requestBytes({ path }));
    const good = await eventStream(t, `${victim.server.url}${path}`);
    await waitersReach(victim, 2);
    // More than the kernel takes for a connection, and what the server keeps for it.
    const data = JSON.stringify('x'.repeat(16_000));
    let reported = 0;
    for (let let_go = false; !let_go; reported++) {
      assert.ok(reported < 3000, 'it is let go before 48 MB are told');
      assert.equal((await postJson(victim, `/v1/leases/${token}/progress`, `{"data":${data}}`)).status, 200);
      let_go = reported % 50 === 49 && /^waitless_waiters 1$/m.test((await victim.ask({ path: '/metrics' })).text);
    }
    assert.equal((await victim.ask({ method: 'POST', path: `/v1/leases/${token}/reply`, body: 'done' })).status, 200);
    assert.deepEqual(
      (await good.ended()).map(({ data: { version } }) => version),
      Array.from({ length: reported + 3 }, (_, i) => i + 1),
    );
    slow.socket.resume();
    await assert.rejects(async () => {
      const answer = await slow.response();
      if (answer === null) throw new Error('cut');
    }, 'its stream has no end');
  });
});

test('T55: a subscriber of a topic that never reads is let go and holds up nobody, and it goes on where it was', async (t) => {
  await underAttack(t, { services }, async (victim) => {
    const path = '/v1/topics/load/events';
    const headers: [string, string][] = [['Accept', 'text/event-stream']];
    const slow = await victim.open();
    slow.socket.pause();
    slow.send(requestBytes({ path, headers }));
    const good = await eventStream(t, `${victim.server.url}${path}`);
    await waitersReach(victim, 2);
    const data = 'x'.repeat(64_000);
    let published = 0;
    for (let letGo = false; !letGo; published++) {
      assert.ok(published < 750, 'it is let go before 48 MB are told');
      const body = JSON.stringify({ specversion: '1.0', id: String(published), source: '/s', type: 't', data });
      const type: [string, string][] = [['Content-Type', 'application/cloudevents+json']];
      assert.equal((await victim.ask({ method: 'POST', path, headers: type, body })).status, 202);
      letGo = published % 10 === 9 && /^waitless_waiters 1$/m.test((await victim.ask({ path: '/metrics' })).text);
    }
    const wanted = Array.from({ length: published }, (_, i) => String(i));
    await good.when(({ data: event }) => event['id'] === wanted.at(-1));
    assert.deepEqual(
      good.events.map(({ data: event }) => event['id']),
      wanted,
    );
    const back = await eventStream(t, `${victim.server.url}${path}`, { lastEventId: good.events[0]!.id });
    await back.when(({ data: event }) => event['id'] === wanted.at(-1));
    assert.equal(back.events.length, published - 1, 'the past comes as fast as it is read');
    slow.socket.resume();
    await assert.rejects(async () => {
      const answer = await slow.response();
      if (answer === null) throw new Error('cut');
    }, 'its stream has no end');
    for (const stream of [good, back]) stream.destroy();
  });
});

test("T57: places and tokens of somebody else's topics lead to nothing of theirs", async (t) => {
  await underAttack(t, { services, namespaces: ['mine', 'theirs'] }, async (victim) => {
    const path = '/v1/topics/orders/events';
    const publish = (namespace: string, id: string) =>
      victim.askAs(namespace, {
        method: 'POST',
        path,
        headers: [['Content-Type', 'application/cloudevents+json']],
        body: JSON.stringify({ specversion: '1.0', id, source: '/s', type: 't' }),
      });
    for (const id of ['a', 'b', 'c']) assert.equal((await publish('theirs', id)).status, 202);
    assert.equal((await publish('mine', 'own')).status, 202);
    const key = victim.server.key('theirs');
    const url = `${victim.server.url}${path}`;
    const theirs = await eventStream(t, `${url}?from=start`, { key });
    await theirs.when(({ data }) => data['id'] === 'c');
    const own = { key: victim.server.key('mine') };
    for (const lastEventId of [...theirs.events.map(({ id }) => id), "1' OR '1'='1", '-1', '9'.repeat(300), '0-x']) {
      const stream = await eventStream(t, url, { ...own, lastEventId });
      // Positions are each namespace's own: one may be a place here too.
      if (lastEventId !== theirs.events[0]!.id) await stream.when(({ data }) => data['id'] === 'own');
      assert.ok(stream.events.every(({ event, data }) => event === 'reset' || data['id'] === 'own'));
      stream.destroy();
    }
    theirs.destroy();
  });
});

test('T55: a thousand streams that are cut leave nothing behind', (t) => cutStreams(t, 1000));

test('T56: progress that would be events of its own, or end the stream, is data', async (t) => {
  await underAttack(t, { services }, async (victim) => {
    const headers = [['Correlation-Id', 'x"\\ data: event: id:']] as const;
    const { token, operation } = await leaseOne(victim, 'work', { headers });
    const nasty = 'a\n\nevent: succeeded\rdata: {}\r\n\r\nid: 9\u2028\u2029\u0085\u0000';
    const body = `{"stage":${JSON.stringify(nasty.slice(0, 100))},"message":${JSON.stringify(nasty)},"data":{"a":\r\n\r\n[1,\r2,\n\n3]}}`;
    assert.equal((await postJson(victim, `/v1/leases/${token}/progress`, body)).status, 200);
    const fail = JSON.stringify({ code: 'x', message: nasty, retry: false });
    assert.equal((await postJson(victim, `/v1/leases/${token}/fail`, fail)).status, 200);
    const stream = await eventStream(t, `${victim.server.url}/v1/operations/${operation.id}/events`);
    const events = await stream.ended();
    assert.deepEqual(
      events.map(({ id, event }) => [id, event]),
      ['queued', 'running', 'progress', 'failed'].map((event, i) => [`${operation.id}_${i + 1}`, event]),
    );
    assert.deepEqual(events[2]!.data['progress'], {
      sequence: 1,
      stage: nasty.slice(0, 100),
      message: nasty,
      data: { a: [1, 2, 3] },
    });
  });
});

test('T54: one namespace takes the room of its own and not that of others', async (t) => {
  const fields = { maxWaitersPerNamespace: 2 };
  await underAttack(t, { services, namespaces: ['many', 'few'], fields }, async (victim) => {
    const key = victim.server.key('many');
    const { operation } = await leaseOne(victim, 'work', { namespace: 'many' });
    const single = `${victim.server.url}/v1/operations/${operation.id}/events`;
    const shared = `${victim.server.url}/v1/stream?operations=${operation.id}`;
    const streams = [await eventStream(t, single, { key }), await eventStream(t, shared, { key })];
    for (const path of [`/v1/operations/${operation.id}/events`, `/v1/stream?operations=${operation.id}`]) {
      const refused = await victim.askAs('many', { path });
      assertProblem(refused, 429, 'too-many-connections');
      assert.match(refused.header('ratelimit-policy') ?? '', /q=2/);
      assert.match(refused.header('ratelimit') ?? '', /r=0/);
    }
    const waiting = { path: `/v1/operations/${operation.id}/result`, headers: [['Prefer', 'wait=30']] as const };
    assertProblem(await victim.askAs('many', waiting), 429, 'too-many-connections');
    const { operation: theirs } = await leaseOne(victim, 'work', { namespace: 'few' });
    const good = await eventStream(t, `${victim.server.url}/v1/operations/${theirs.id}/events`, {
      key: victim.server.key('few'),
    });
    assert.equal(good.status, 200);
    for (const stream of [...streams, good]) stream.destroy();
  });
});

test('T57: a place in another stream, another tenant, or none at all tells nothing and changes nothing', async (t) => {
  await underAttack(t, { services, namespaces: ['mine', 'theirs'] }, async (victim) => {
    const { operation: mine } = await leaseOne(victim, 'work', { namespace: 'mine' });
    const { operation: theirs } = await leaseOne(victim, 'work', { namespace: 'theirs' });
    const placeOf = async (namespace: string, id: string): Promise<string> => {
      const key = victim.server.key(namespace);
      const stream = await eventStream(t, `${victim.server.url}/v1/stream?operations=${id}`, { key });
      const [first] = await stream.when(() => true);
      stream.destroy();
      return first!.id;
    };
    const place = await placeOf('theirs', theirs.id);
    await victim.untouchedBy(async () => {
      for (const last of [place, '-1', "1' OR '1'='1", '9'.repeat(12_000), `${'A'.repeat(1400)}.${'A'.repeat(27)}`]) {
        const stream = await eventStream(t, `${victim.server.url}/v1/stream?operations=${mine.id}`, {
          key: victim.server.key('mine'),
          lastEventId: last,
        });
        const [reset] = await stream.when(() => true);
        assert.equal(reset!.event, 'reset');
        assert.doesNotMatch(JSON.stringify(reset), new RegExp(theirs.id));
        stream.destroy();
      }
      const huge = [['Last-Event-ID', '9'.repeat(20_000)]] as const;
      const refused = await victim.askAs('mine', { path: `/v1/stream?operations=${mine.id}`, headers: huge });
      assert.equal(refused.status, 431);
      for (const ids of [theirs.id, `${mine.id},${theirs.id}`, `${mine.id},nonsense`])
        assertProblem(await victim.askAs('mine', { path: `/v1/stream?operations=${ids}` }), 404, 'not-found');
    });
  });
});

test('T58: five thousand who wait for one operation are all told, and beyond the limit the next is refused', async (t) => {
  const waiters = 5000;
  const connections = 10;
  await underAttack(t, { services, fields: { maxWaiters: waiters } }, async (victim) => {
    const { token, operation } = await leaseOne(victim, 'work');
    const wait = requestBytes({ path: `/v1/operations/${operation.id}`, headers: [['Prefer', 'wait=50']] });
    const open = await Promise.all(Array.from({ length: connections }, () => victim.open()));
    for (const connection of open)
      connection.send(Buffer.concat(Array.from({ length: waiters / connections }, () => wait)));
    await waitersReach(victim, waiters);
    const refused = await victim.ask({ path: `/v1/operations/${operation.id}`, headers: [['Prefer', 'wait=50']] });
    assertProblem(refused, 429, 'too-many-connections');
    assert.equal((await postJson(victim, `/v1/leases/${token}/progress`, '{"stage":"now"}')).status, 200);
    for (const connection of open)
      for (let i = 0; i < waiters / connections; i++) {
        const answer = await connection.response();
        assert.equal(answer!.status, 200);
        assert.equal(answer!.json<{ version: number }>().version, 3);
      }
  });
});

test('what a client sends before and behind a stream on its connection neither breaks it nor is answered in it', async (t) => {
  await underAttack(t, { services }, async (victim) => {
    const { token, operation } = await leaseOne(victim, 'work');
    const events = requestBytes({ path: `/v1/operations/${operation.id}/events` });
    const live = requestBytes({ path: '/livez' });
    const old = Buffer.from(`GET /v1/operations/${operation.id}/events HTTP/1.0\r\nHost: localhost\r\n\r\n`);
    const started = async (...requests: Buffer[]): Promise<RawConnection> =>
      (await victim.open()).send(Buffer.concat(requests));
    const alone = await started(events);
    const behind = await started(events, live, events);
    const before = await started(live, events);
    const none = await started(old);
    await waitersReach(victim, 5);
    // Once the stream has begun.
    alone.send(Buffer.concat([live, Buffer.from('no HTTP at all\r\n\r\n')]));
    assert.equal((await victim.ask({ method: 'POST', path: `/v1/leases/${token}/reply`, body: 'done' })).status, 200);
    assert.match((await before.response())!.text, /ok|alive|status/i);
    for (const connection of [alone, behind, before, none]) {
      const stream = await connection.response();
      assert.equal(stream!.status, 200);
      assert.equal(stream!.header('connection'), 'close');
      assert.equal(stream!.header('transfer-encoding'), connection === none ? undefined : 'chunked');
      assert.deepEqual(
        Array.from(stream!.text.matchAll(/^event: (.*)$/gm), ([, event]) => event),
        ['queued', 'running', 'succeeded'],
      );
      // Of one without chunks the end of the connection is the end of the stream.
      if (connection !== none) assert.equal((await connection.closed()).toString('latin1'), '', 'nothing follows');
    }
  });
});

test('one that closes its side of a stream has left', async (t) => {
  await underAttack(t, { services }, async (victim) => {
    const { operation } = await leaseOne(victim, 'work');
    const connection = (await victim.open()).send(requestBytes({ path: `/v1/operations/${operation.id}/events` }));
    await waitersReach(victim, 1);
    connection.end();
    await waitersReach(victim, 0);
    await connection.closed();
  });
});
