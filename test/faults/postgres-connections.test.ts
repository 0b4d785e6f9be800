// Connections that are lost: who waits for one is served by a new one, who gets none hears of it, and hints come again.
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { readAddress } from '../../packages/server/src/engines/postgres/address.ts';
import { Connections } from '../../packages/server/src/engines/postgres/connections.ts';
import { postgresEngine } from '../../packages/server/src/engines/postgres/engine.ts';
import { Reach } from '../../packages/server/src/engines/postgres/reach.ts';
import { cleanUp } from '../support/cleanup.ts';
import { newStore, postgresMissing } from '../support/postgres.ts';
import { messageCutter } from '../support/postgres-wire.ts';
import { type TcpProxy, tcpProxy } from '../support/tcp-proxy.ts';
import { through } from './postgres-start.ts';

const missing = postgresMissing();
const sleep = { name: 'sleep', text: 'SELECT pg_sleep($1::float8)' };
const pid = { name: 'pid', text: 'SELECT pg_backend_pid()' };
const refusedForCertain = { code: 'engine-unavailable', members: { accepted: false } };

async function connectionsFor(
  t: TestContext,
  count: number,
): Promise<{ connections: Connections; proxy: TcpProxy; url: string }> {
  const { url } = await newStore(t);
  const proxy = await tcpProxy(t, { to: Number(new URL(url).port) });
  const { config } = readAddress(through(url, proxy.port));
  const places = Array.from({ length: count }, (_, place) => place);
  const connections = new Connections({ config, places, slotOf: (place) => place, reach: new Reach() });
  cleanUp(t, () => connections.close());
  return { connections, proxy, url };
}

describe('connections to a database that goes away', { skip: missing && `skipped: ${missing}`, concurrency: 4 }, () => {
  test('who waits for the only one gets a new one when it is lost', async (t) => {
    const { connections, proxy } = await connectionsFor(t, 1);
    await connections.run(pid, []);
    const lost = assert.rejects(connections.run(sleep, [60]));
    const waiting = connections.run(pid, []);
    proxy.reset();
    await lost;
    assert.equal((await waiting).length, 1);

    const late = assert.rejects(
      connections.use((own) => own.run(sleep, [60], 100)),
      { name: 'NoAnswer' },
    );
    const next = connections.run(pid, []);
    await late;
    assert.equal((await next).length, 1);
  });

  test('who gets none within the time for an answer is refused for certain, and nothing of it runs later', async (t) => {
    const { connections } = await connectionsFor(t, 1);
    let ran = false;
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    const holding = connections.use(() => held);
    await assert.rejects(
      connections.use(() => Promise.resolve((ran = true))),
      refusedForCertain,
    );
    release();
    await holding;
    assert.equal((await connections.run(pid, [])).length, 1, 'the place in line is not taken by who has left');
    assert.equal(ran, false);
  });

  test('one that is silent makes those that are idle suspect', async (t) => {
    const { connections, proxy } = await connectionsFor(t, 3);
    const pids = async (): Promise<unknown[]> =>
      (
        await Promise.all(
          [1, 2, 3].map(() =>
            connections.use(async (own) => {
              await own.run(sleep, [0.2]);
              return own.run(pid, []);
            }),
          ),
        )
      ).map(([row]) => row![0]);
    const before = await pids();
    assert.equal(new Set(before).size, 3);
    await proxy.set('black-hole');
    await assert.rejects(
      connections.use((own) => own.run(pid, [], 100)),
      { name: 'NoAnswer' },
    );
    await proxy.set('forward');
    const after = await pids();
    assert.ok(
      after.every((one) => !before.includes(one)),
      'all of them are new',
    );
  });

  test('without a database each is refused for certain, and the first after its return gets through', async (t) => {
    const { connections, proxy } = await connectionsFor(t, 2);
    await connections.run(pid, []);
    await proxy.set('refuse');
    proxy.reset();
    await assert.rejects(Promise.all([1, 2, 3].map(() => connections.run(pid, []))));
    await assert.rejects(connections.run(pid, []), refusedForCertain);
    await proxy.set('forward');
    for (;;) {
      const rows = await connections.run(pid, []).catch((error: { members: unknown }) => {
        assert.deepEqual(error.members, refusedForCertain.members);
        return [];
      });
      if (rows.length === 1) break;
    }
  });

  test('hints are heard again after a network that swallowed everything', async (t) => {
    const { url } = await newStore(t);
    const cutter = messageCutter();
    const proxy = await tcpProxy(t, { to: Number(new URL(url).port), inspect: cutter.inspect });
    // Nothing but hints tells this one of work.
    const listener = postgresEngine({ url: through(url, proxy.port), pollMs: 3_600_000 });
    const speaker = postgresEngine({ url });
    for (const engine of [listener, speaker]) {
      await engine.open(Date.now());
      cleanUp(t, () => engine.close());
      // A node that gives no sign of life is taken for dead, and to the dead nobody speaks.
      const over = new AbortController();
      const sweeping = (async () => {
        while (!over.signal.aborted) {
          await engine.sweep(Date.now(), { removeExpired: false }).catch(() => {});
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      })();
      cleanUp(t, () => {
        over.abort();
        return sweeping;
      });
    }
    const { id } = await speaker.queue('default', 'jobs');
    await listener.queue('default', 'jobs');
    // What it asks when it hears nothing for a while; with the answer its connection falls silent for ever.
    await cutter.cutAfter({
      matches: ({ type, body }) => type === 'Q' && body.includes('SELECT 1'),
      ending: 'silence',
    });
    const wanted = {
      service: 'jobs',
      namespace: null,
      kind: 'pull',
      worker: null,
      max: 1,
      maxBytes: 1 << 20,
      leaseMs: 60_000,
      wait: true,
    } as const;
    let taken = 0;
    const taking = listener.lease(wanted, Date.now()).then(({ length }) => (taken = length));
    for (let n = 0; taken === 0; n++) {
      const nowMs = Date.now();
      await speaker.submit(
        [
          {
            queue: id,
            nonce: String(n).padStart(32, '0'),
            durability: 'stored',
            head: '{}',
            body: Buffer.of(),
            correlationId: null,
            labels: null,
            createdAt: nowMs,
            runAt: nowMs,
            rank: nowMs,
            deadlineAt: nowMs + 600_000,
            startByAt: null,
            retentionMs: 1000,
            idempotency: null,
            key: null,
            sharing: null,
          },
        ],
        nowMs,
      );
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.equal(await taking, 1);
  });
});
