// Clients that send slowly on purpose: they are cut off, and everybody else is served meanwhile.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertClosed, underAttack } from '../support/victim.ts';

const call = 'POST /v1/call/work HTTP/1.1\r\nHost: localhost\r\n';
const services = { work: { target: { pull: true } } };

// The limits are 10 s for a head and 30 s for a body without progress, so these run side by side.
describe('T14', { concurrency: true }, () => {
  test('slow senders', { concurrency: true }, async (t) => {
    await underAttack(t, { services }, async (victim) => {
      await victim.untouchedBy(async () => {
        const drip: (readonly [what: string, start: string, more: string])[] = [
          ['a connection that says nothing', '', ''],
          ['half a request line', 'POST /v1/ca', ''],
          ['half a header block', `${call}X-Slow: a`, ''],
          ['a header line every now and then', call, 'X-Slow: a\r\n'],
          ['half a body by Content-Length', `${call}Content-Length: 1000\r\n\r\nabc`, ''],
          ['half a chunk', `${call}Transfer-Encoding: chunked\r\n\r\n100\r\nabc`, ''],
          ['a body of a byte every now and then', `${call}Content-Length: 1000\r\n\r\nabc`, 'a'],
          ['a body in chunks of a byte', `${call}Transfer-Encoding: chunked\r\n\r\n`, '1\r\na\r\n'],
          ['Expect: 100-continue and then nothing', `${call}Expect: 100-continue\r\nContent-Length: 10\r\n\r\n`, ''],
        ];
        await Promise.all(
          drip.map(([what, start, more]) =>
            t.test(`${what} gets 408 and the connection is closed`, async () => {
              const connection = await victim.open();
              if (start) connection.send(start);
              const dripping = more ? setInterval(() => connection.send(more), 300) : undefined;
              try {
                assert.equal((await connection.response())?.status, 408);
              } finally {
                clearInterval(dripping);
              }
              connection.end();
              await assertClosed(connection);
            }),
          ),
        );
      });
    });
  });

  test('five hundred connections with half a header hold up nobody, and all are closed', async (t) => {
    await underAttack(t, { services }, (victim) =>
      victim.untouchedBy(async () => {
        const slow = await Promise.all(Array.from({ length: 500 }, () => victim.open()));
        for (const connection of slow) connection.send(`${call}X-Slow: `);
        for (let i = 0; i < 50; i++) assert.equal((await victim.ask({ path: '/v1/operations' })).status, 200);
        await Promise.all(
          slow.map(async (connection) => {
            assert.equal((await connection.response())?.status, 408);
            connection.destroy();
          }),
        );
      }),
    );
  });
});
