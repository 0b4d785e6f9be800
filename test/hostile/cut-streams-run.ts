// Streams of every kind that are cut without a word, at any moment: afterwards the server holds no connection, no waiter and no memory of them.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { until } from '../support/http.ts';
import { RawConnection, requestBytes } from '../support/raw-http.ts';
import { underAttack } from '../support/victim.ts';
import { leaseOne, postJson } from '../support/worker.ts';

const services = { work: { target: { pull: true } } };
const wave = 100;
/** A stream that is kept holds several thousand; what the runner, the store and compiled code take meanwhile is less than this and this of each. */
const mostBytes = 1_000_000;
const mostBytesEach = 200;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Of this process, in which both sides run. */
const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;

async function heapBytes(): Promise<number> {
  // What was let go in this turn is found by the next ones.
  for (let i = 0; i < 5; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    collect();
  }
  return process.memoryUsage().heapUsed;
}

export async function cutStreams(t: TestContext, count: number): Promise<void> {
  await underAttack(t, { services }, async (victim) => {
    const { operation, token } = await leaseOne(victim, 'work');
    const { operation: other } = await leaseOne(victim, 'work');
    const one = requestBytes({ path: `/v1/operations/${operation.id}/events` });
    const many = requestBytes({ path: `/v1/stream?operations=${operation.id},${other.id}` });
    const submit = requestBytes({
      method: 'POST',
      path: '/v1/call/work',
      headers: [['Accept', 'text/event-stream']],
      body: 'x',
    });
    const waitersReach = (waiters: number): Promise<true> =>
      until(async () => {
        const { text } = await victim.ask({ path: '/metrics' });
        return new RegExp(`^waitless_waiters ${waiters}$`, 'm').test(text) ? true : undefined;
      }, 20);

    const cutWave = async (whileOpen?: () => Promise<void>): Promise<void> => {
      const open: RawConnection[] = [];
      for (let i = 0; i < wave; i++)
        open.push((await RawConnection.open(victim.port)).send(i % 20 === 0 ? submit : i % 2 === 0 ? one : many));
      await waitersReach(wave);
      await whileOpen?.();
      // Some are cut while they are told something.
      const told = postJson(victim, `/v1/leases/${token}/progress`, '{"data":"news"}');
      for (const [i, connection] of open.entries())
        if (i % 4 < 2) connection.destroy();
        else connection.socket.resetAndDestroy();
      assert.equal((await told).status, 200);
      await waitersReach(0);
    };

    // What is made once, such as code that was compiled and rooms that grew, is there after this.
    await cutWave();
    await cutWave();
    const before = { sockets: sockets(), heap: await heapBytes() };
    await cutWave(async () => {
      const held = (await heapBytes()) - before.heap;
      assert.ok(sockets() >= 2 * wave && held > wave * 2000, 'what is held would be seen');
    });
    for (let cut = wave; cut < count; cut += wave) await cutWave();
    await until(() => (sockets() <= before.sockets ? true : undefined), 20);
    const grown = (await heapBytes()) - before.heap;
    assert.ok(grown < mostBytes + count * mostBytesEach, `${Math.round(grown / count)} bytes are left of each`);
  });
}
