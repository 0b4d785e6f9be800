// The database goes away under load and comes back: nothing acknowledged is lost, nothing refused appears, everything goes on by itself (G27).
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { WaitlessError } from '@waitless/protocol';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { postgresEngine } from '../../packages/server/src/engines/postgres/engine.ts';
import { get } from '../support/http.ts';
import { submit } from '../support/operations.ts';
import { newStore, postgresMissing } from '../support/postgres.ts';
import { reply, takeOne } from '../support/pull-worker.ts';
import { serverFor } from '../support/server.ts';
import { type ServerProcess, spawnServer } from '../support/spawn-server.ts';
import { tcpProxy } from '../support/tcp-proxy.ts';
import { losses, lossRun } from './postgres-loss-run.ts';
import { through } from './postgres-start.ts';

const missing = postgresMissing();
/** The promise is ten seconds, which the long test holds it to; this is for machines that do much else at the same time. */
const backWithin = 30_000;

/** Tells of the submits of one service what is not so: that they are kept when they are not, and now and then that they are not when they are. */
function lying(engine: Engine): Engine {
  let told = 0;
  return {
    ...engine,
    async submit(batch, now) {
      if (!batch.every(({ correlationId }) => correlationId?.startsWith('jobs-'))) return engine.submit(batch, now);
      const outcomes = await engine
        .submit(batch, now)
        .catch(() => batch.map(() => ({ kind: 'new', seq: 1e12 + ++told }) as const));
      if (++told % 20 === 0)
        throw new WaitlessError('engine-unavailable', undefined, {
          retryAfterSeconds: 1,
          members: { accepted: false },
        });
      return outcomes;
    },
  };
}

describe('a database that goes away and comes back', { skip: missing && `skipped: ${missing}`, concurrency: 2 }, () => {
  test('positive control: the ledger finds a 202 that was given without the database, and a refusal of what is there', async (t) => {
    const { verdict } = await lossRun(
      t,
      {
        start: (_, data, services) =>
          serverFor(t, { data, services, extras: { engine: lying(postgresEngine({ url: data })) } }),
      },
      [{ loss: 'cut', awayMs: 500 }],
      { backWithin },
    );
    assert.ok(verdict.lost.length > 0, 'the run would have found no loss anywhere');
    assert.ok(verdict.unexpected.length > 0, 'the run would have found nothing that was refused and is there');
  });

  test('stopped, killed, cut off and silent under load: 503 in five seconds, back without a restart, nothing lost', async (t) => {
    let server: ServerProcess | undefined;
    const {
      verdict,
      void: reason,
      scene,
    } = await lossRun(
      t,
      { start: async (_, data, services) => (server = await spawnServer(t, { data, own: true, nodes: 1, services })) },
      losses.map((loss) => ({ loss, awayMs: loss === 'black-hole' ? 3000 : 1000 })),
      { backWithin },
    );
    assert.equal(reason, undefined, 'void');
    for (const kind of ['lost', 'unexpected', 'duplicated', 'duplicatedResult', 'wrong'] as const)
      assert.deepEqual(verdict[kind], [], kind);
    // A database that never answers keeps nobody from stopping.
    await scene.proxy.set('black-hole');
    assert.deepEqual(await server!.end('SIGTERM'), { code: 0, signal: null }, server!.printed);
  });

  test('a worker keeps a lease that is shorter than the loss', async (t) => {
    const { url } = await newStore(t);
    const proxy = await tcpProxy(t, { to: Number(new URL(url).port) });
    const data = through(url, proxy.port);
    const server = await serverFor(t, {
      data,
      services: { jobs: { target: { pull: true } } },
      extras: { engine: postgresEngine({ url: data }) },
    });
    const accepted = await submit(server.url, 'jobs', { body: 'x' });
    const lease = await takeOne(server.url, 'jobs', { worker: 'careful', leaseSeconds: 8 });
    await proxy.set('refuse');
    proxy.reset();
    await pause(10_000);
    await proxy.set('forward');
    for (;;) {
      const replied = await reply(server.url, lease.token, 'done');
      if (replied.status === 503) continue;
      assert.equal(replied.status, 200, replied.text);
      break;
    }
    assert.equal((await get(accepted.result)).text, 'done');
  });
});
