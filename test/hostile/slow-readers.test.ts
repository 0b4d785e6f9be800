// Clients that read slowly or not at all: they hold no memory that is not counted, and everybody else is served meanwhile.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type RawConnection, requestBytes } from '../support/raw-http.ts';
import { assertProblem, assertUsable, underAttack } from '../support/victim.ts';
import { leaseOne } from '../support/worker.ts';

const services = { work: { target: { pull: true } } };

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** What this process cannot let go of: server and test together, without what only waits to be collected. */
function heldMegabytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 1024 / 1024;
}

test('T16: a thousand requests sent at once on one connection are all answered, in their order, and others in between', async (t) => {
  await underAttack(t, { services }, async (victim) => {
    const connection = await victim.open();
    const count = 1000;
    const requests = Array.from({ length: count }, (_, i) =>
      i % 2 === 0
        ? requestBytes({
            method: 'POST',
            path: '/v1/call/work',
            headers: [['Correlation-Id', `c-${i}`]],
            body: `body ${i}`,
          })
        : requestBytes({ path: `/v1/call-${i}` }),
    );
    connection.send(Buffer.concat(requests));
    assert.equal((await victim.ask({ path: '/livez' })).status, 200, 'another connection is served as well');
    for (let i = 0; i < count; i++) {
      const answer = await connection.response();
      assert.equal(answer?.status, i % 2 === 0 ? 202 : 404);
      if (i % 2 === 0) assert.equal(answer.header('correlation-id'), `c-${i}`);
    }
    await assertUsable(connection);
  });
});

test('T16: a connection that sends thousands of requests ahead, each to wait, has a bounded number of them in hand', async (t) => {
  await underAttack(t, { services, fields: { maxWait: '1s' } }, (victim) =>
    victim.untouchedBy(async () => {
      const connection = await victim.open();
      const count = 10_000;
      const wait = requestBytes({
        method: 'POST',
        path: '/v1/services/work/leases',
        headers: [['Content-Type', 'application/json']],
        body: '{"waitSeconds":50}',
      });
      connection.send(Buffer.concat(Array<Buffer>(count).fill(wait)));
      const statuses = new Map<number, number>();
      for (let i = 0; i < count; i++) {
        const answer = await connection.response();
        assert.ok(answer, 'every request is answered');
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        if (answer.status === 429) assertProblem(answer, 429, 'too-many-connections');
      }
      assert.deepEqual(new Set(statuses.keys()), new Set([200, 429]));
      await assertUsable(connection);
    }),
  );
});

test('T16: beyond the number of requests that may wait, the next gets 429 and nothing of it is stored', async (t) => {
  await underAttack(t, { services, fields: { maxWaiters: 2 } }, async (victim) => {
    const wait = (): Promise<RawConnection> =>
      victim
        .open()
        .then((connection) =>
          connection.send(
            requestBytes({ method: 'POST', path: '/v1/call/work', headers: [['Prefer', 'wait=50']], body: 'x' }),
          ),
        );
    const waiting = [await wait(), await wait()];
    while (!/^waitless_waiters 2$/m.test((await victim.ask({ path: '/metrics' })).text));
    await victim.untouchedBy(async () => {
      assertProblem(
        await victim.ask({ method: 'POST', path: '/v1/call/work', headers: [['Prefer', 'wait=50']], body: 'x' }),
        429,
        'too-many-connections',
      );
      const { items } = (await victim.ask({ path: '/v1/operations?service=work' })).json<{ items: { id: string }[] }>();
      for (const path of [`/v1/operations/${items[0]!.id}`, `/v1/operations/${items[0]!.id}/result`])
        assertProblem(await victim.ask({ path, headers: [['Prefer', 'wait=50']] }), 429, 'too-many-connections');
    });
    const accepted = await victim.ask({ method: 'POST', path: '/v1/call/work', body: 'x' });
    assert.equal(accepted.status, 202, 'who does not wait is served');
    for (const connection of waiting) connection.destroy();
  });
});

test('T16: a client that sends request after request and never reads is not read from without end', async (t) => {
  await underAttack(t, { services }, (victim) =>
    victim.untouchedBy(async () => {
      const connection = await victim.open();
      connection.socket.pause();
      const batch = Buffer.concat(Array.from({ length: 4000 }, () => requestBytes({ path: '/livez' })));
      const before = heldMegabytes();
      // Stops by itself: once the server takes no more, the kernel's buffers are full and the write does not drain.
      const most = 500;
      let taken = 0;
      for (let full = false; !full && taken < most; taken++) {
        full = await new Promise<boolean>((resolve) => {
          const stuck = setTimeout(() => resolve(true), 1000);
          connection.socket.write(batch, () => {
            clearTimeout(stuck);
            resolve(false);
          });
        });
        assert.equal((await victim.ask({ path: '/livez' })).status, 200, 'others are served');
      }
      const grown = heldMegabytes() - before;
      assert.ok(taken < most, 'the server stops reading from a client that does not read');
      assert.ok(grown < 100, `memory is bounded: ${Math.round(grown)} MB more`);
      connection.destroy();
    }),
  );
});

for (const [how, path] of [
  ['a result', 'result'],
  ['a result in the envelope', 'result?envelope=json'],
] as const) {
  test(`T15: forty readers that ask for ${how} of 20 MB and read nothing hold no copy of it each`, async (t) => {
    const settings = { services: { large: { target: { pull: true }, maxBody: '20mb' } } };
    await underAttack(t, settings, async (victim) => {
      const { token, operation } = await leaseOne(victim, 'large');
      const megabytes = 20;
      const body = Buffer.alloc(megabytes * 1024 * 1024, 'r');
      assert.equal((await victim.ask({ method: 'POST', path: `/v1/leases/${token}/reply`, body })).status, 200);
      await victim.untouchedBy(async () => {
        const before = heldMegabytes();
        const readers = await Promise.all(
          Array.from({ length: 40 }, async () => {
            const connection = await victim.open();
            connection.socket.pause();
            connection.send(requestBytes({ path: `/v1/operations/${operation.id}/${path}` }));
            return connection;
          }),
        );
        // Served behind all of them, so each has been begun.
        const { length } = (await victim.ask({ path: `/v1/operations/${operation.id}/result` })).body;
        assert.equal(length, body.length);
        const grown = heldMegabytes() - before;
        assert.ok(grown < 100, `memory is bounded: ${Math.round(grown)} MB more for ${40 * megabytes} MB asked for`);
        for (const connection of readers) connection.destroy();
      });
    });
  });
}

test('T15: callers that wait for a large result and do not read it hold memory that is counted', async (t) => {
  const settings = { services: { large: { target: { pull: true }, maxBody: '20mb' } } };
  await underAttack(t, settings, async (victim) => {
    const body = Buffer.alloc(20 * 1024 * 1024, 'r');
    const connection = await victim.open();
    connection.socket.pause();
    connection.send(
      requestBytes({ method: 'POST', path: '/v1/call/large', headers: [['Prefer', 'wait=30']], body: 'x' }),
    );
    const lease = async () =>
      (
        await victim.ask({
          method: 'POST',
          path: '/v1/services/large/leases',
          headers: [['Content-Type', 'application/json']],
          body: '{"waitSeconds":20}',
        })
      ).json<{ leases: { token: string }[] }>().leases[0]!.token;
    const token = await lease();
    assert.equal((await victim.ask({ method: 'POST', path: `/v1/leases/${token}/reply`, body })).status, 200);
    for (;;) {
      const { text } = await victim.ask({ path: '/metrics' });
      const held = Number(/^waitless_body_bytes (\d+)$/m.exec(text)?.[1]);
      if (held >= body.length) break;
    }
    connection.socket.resume();
    const answer = await connection.response();
    assert.equal(answer?.body.length, body.length);
  });
});
