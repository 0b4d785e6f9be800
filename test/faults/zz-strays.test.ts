// A statement that leases is carried out and its answer is lost: the work goes to somebody who is there, without waiting for a lease that nobody holds.
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import type { LeaseWanted, Submission } from '../../packages/server/src/engine/engine.ts';
import { postgresEngine } from '../../packages/server/src/engines/postgres/engine.ts';
import { cleanUp } from '../support/cleanup.ts';
import { newStore, postgresMissing } from '../support/postgres.ts';
import { messageCutter } from '../support/postgres-wire.ts';
import { tcpProxy } from '../support/tcp-proxy.ts';
import { through } from './postgres-start.ts';

const missing = postgresMissing();
const hour = 3_600_000;

const wanted = (kind: 'push' | 'pull'): LeaseWanted => ({
  service: 'jobs',
  namespace: null,
  kind,
  worker: kind === 'pull' ? 'w' : null,
  max: 10,
  maxBytes: 1 << 20,
  leaseMs: hour,
  wait: true,
});

async function engineBehindCutter(t: TestContext) {
  const { url } = await newStore(t);
  const cutter = messageCutter();
  const proxy = await tcpProxy(t, { to: Number(new URL(url).port), inspect: cutter.inspect });
  const engine = postgresEngine({ url: through(url, proxy.port) });
  const opened = await engine.open(Date.now());
  cleanUp(t, () => engine.close());
  const offset = opened.nowMs - performance.now();
  const now = (): number => Math.floor(offset + performance.now());
  const { id } = await engine.queue('default', 'jobs');
  const submission = (key: string): Submission => ({
    queue: id,
    nonce: key.padStart(32, '0'),
    durability: 'stored',
    head: '{}',
    body: Buffer.from(key),
    correlationId: key,
    labels: null,
    createdAt: now(),
    runAt: now(),
    rank: now(),
    deadlineAt: now() + 10 * hour,
    startByAt: null,
    retentionMs: hour,
    idempotency: { key, fingerprint: key, expiresAt: now() + hour, retryFailed: false },
    key: null,
    sharing: null,
  });
  /** Sweeps, as a server does each second, until the promise has its end. */
  async function sweepingUntil<T>(promise: Promise<T>): Promise<T> {
    const over = new AbortController();
    const sweeping = (async () => {
      while (!over.signal.aborted) {
        await engine.sweep(now(), { removeExpired: true }).catch((e) => {console.error('sweep', e.message, e.cause?.message)});
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    })();
    try {
      return await promise;
    } finally {
      over.abort();
      await sweeping;
    }
  }
  return { engine, now, submission, sweepingUntil, cutter };
}

describe('leases that nobody got', { skip: missing && `skipped: ${missing}`, concurrency: 2 }, () => {
  for (const kind of ['push', 'pull'] as const) {
    test(`${kind}: what was leased from the queue is given again, and the attempt does not count`, async (t) => {
      const { engine, now, submission, sweepingUntil, cutter } = await engineBehindCutter(t);
      await engine.submit([submission('a'), submission('b')], now());
      const lost = cutThrough(cutter, 'lease');
      const taking = engine.lease(wanted(kind), now());
      console.error(Date.now()%1e6, kind, 'await lost'); await lost; console.error(Date.now()%1e6, kind, 'lost');
      const taken = await sweepingUntil(taking); console.error(kind,'taken');
      assert.equal(taken.length, 2);
      for (const { attempt, leaseNo } of taken) assert.deepEqual([attempt, leaseNo], [1, 2]);
    });

    test(`${kind}: what was stored for one who waits is given to them, and a repeat of the submit finds it`, async (t) => {
      const { engine, now, submission, sweepingUntil, cutter } = await engineBehindCutter(t);
      const waiting = engine.lease(wanted(kind), now());
      const first = submission('a');
      const lost = cutThrough(cutter, 'submit-keyed');
      await assert.rejects(engine.submit([first], now()), { code: 'engine-unavailable', members: undefined });
      console.error(Date.now()%1e6, kind, 'await lost'); await lost; console.error(Date.now()%1e6, kind, 'lost');
      const [leased] = await sweepingUntil(waiting); console.error(kind,'leased');
      assert.deepEqual([leased!.correlationId, leased!.attempt, leased!.leaseNo], ['a', 1, 2]);
      const [again] = await engine.submit([first], now());
      assert.equal(again!.kind === 'replayed' && again!.operation.seq, leased!.seq);
    });
  }
});

/** Cuts behind the Sync of the next statement of this name: the database carries it out. */
async function cutThrough(cutter: ReturnType<typeof messageCutter>, name: string): Promise<void> {
  let bound = false;
  await cutter.cutAfter({
    matches: ({ type, body }) => {
      if (type === 'B') console.error(Date.now()%1e6, name, 'B', body.toString('latin1').split('\0').slice(0,3).join('|').slice(0,60)); if (type === 'B' && body.includes(`\0${name}\0`)) bound = true;
      return bound && type === 'S';
    },
  });
}
