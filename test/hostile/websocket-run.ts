// Connections that come, ask for something and are cut off without a word, as often as the test says: nothing of them may stay.
import type { TestContext } from 'node:test';
import { until } from '../support/http.ts';
import { rawWebSocket } from '../support/raw-web-socket.ts';
import { underAttack, type Victim } from '../support/victim.ts';
import { leaseOne, postJson } from '../support/worker.ts';

export const waitersReach = (victim: Victim, count: number): Promise<true> =>
  until(async () => {
    const { text } = await victim.ask({ path: '/metrics' });
    return new RegExp(`^waitless_waiters ${count}$`, 'm').test(text) ? true : undefined;
  }, 20);

const atOnce = 50;

export async function abruptCloses(t: TestContext, count: number): Promise<void> {
  const services = { work: { target: { pull: true } }, idle: { target: { pull: true } } };
  await underAttack(t, { services }, async (victim) => {
    const { operation, token } = await leaseOne(victim, 'work');
    const watch = JSON.stringify([
      { type: 'watch', ref: 'w', operations: [operation.id] },
      { type: 'work', ref: 'k', service: 'idle', credits: 10 },
      { type: 'submit', service: 'idle', body: 'x', watch: 'all' },
    ]);
    for (let done = 0; done < count; done += atOnce) {
      await Promise.all(
        Array.from({ length: atOnce }, async (_, i) => {
          const raw = await rawWebSocket(victim.port);
          raw.send(watch);
          // Some in the middle of what they asked for, some once they were told.
          if (i % 2 === 0) await raw.got(1);
          raw.socket.resetAndDestroy();
        }),
      );
      await postJson(victim, `/v1/leases/${token}/progress`, JSON.stringify({ percent: (done / count) * 100 }));
    }
    await waitersReach(victim, 0);
  });
}
