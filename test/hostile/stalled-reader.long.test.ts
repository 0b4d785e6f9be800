// A reader that takes nothing for a minute is dropped, so that it does not hold a piece of a result for ever. Takes that minute.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestBytes } from '../support/raw-http.ts';
import { underAttack } from '../support/victim.ts';
import { leaseOne, postJson } from '../support/worker.ts';

test('T15: readers that stop in the middle of a stored result, of an envelope and of a result they waited for are dropped', async (t) => {
  const settings = { services: { large: { target: { pull: true }, maxBody: '20mb' } } };
  await underAttack(t, settings, async (victim) => {
    const body = Buffer.alloc(20 * 1024 * 1024, 'r');
    const waiting = await victim.open();
    waiting.socket.pause();
    waiting.send(requestBytes({ method: 'POST', path: '/v1/call/large', headers: [['Prefer', 'wait=30']], body: 'x' }));
    const leased = await postJson(victim, '/v1/services/large/leases', '{"waitSeconds":20}');
    const [first] = leased.json<{ leases: { token: string }[] }>().leases;
    assert.equal((await victim.ask({ method: 'POST', path: `/v1/leases/${first!.token}/reply`, body })).status, 200);

    const { token, operation } = await leaseOne(victim, 'large');
    assert.equal((await victim.ask({ method: 'POST', path: `/v1/leases/${token}/reply`, body })).status, 200);
    const paths = [`/v1/operations/${operation.id}/result`, `/v1/operations/${operation.id}/result?envelope=json`];
    const readers = await Promise.all(
      paths.map(async (path) => {
        const connection = await victim.open();
        connection.socket.pause();
        return connection.send(requestBytes({ path }));
      }),
    );
    // What the server had sent is still in the kernel; the rest never comes.
    await new Promise((resolve) => setTimeout(resolve, 75_000));
    for (const connection of [waiting, ...readers]) {
      connection.socket.resume();
      const received = await connection.closed();
      assert.ok(received.length > 0 && received.length < body.length, `${received.length} bytes of ${body.length}`);
    }
  });
});
