// Bodies that are too large, lie about it, or hold room without coming: refused as early as it can be known, and the room given back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunked, requestBytes } from '../support/raw-http.ts';
import { assertClosed, assertProblem, assertUsable, underAttack } from '../support/victim.ts';
import { leaseOne } from '../support/worker.ts';

const limit = 1024;
const call = 'POST /v1/call/small HTTP/1.1\r\nHost: localhost\r\n';

test('bodies against their limits', async (t) => {
  await underAttack(
    t,
    { services: { small: { target: { pull: true }, maxBody: '1kb' }, ranged: { target: { pull: true } } } },
    async (victim) => {
      await t.test(
        'T17: a Content-Length beyond the limit gets 413 before a byte of the body is read, and the connection is closed',
        () =>
          victim.untouchedBy(async () => {
            const connection = await victim.open();
            connection.send(`${call}Content-Length: ${limit + 1}\r\n\r\n`);
            const answer = await connection.response();
            assertProblem(answer, 413, 'payload-too-large');
            assert.match(answer!.json<{ detail: string }>().detail, /\b1024\b/, 'the limit is named');
            assert.equal(answer!.json()['accepted'], false);
            assert.equal(answer!.header('connection'), 'close');
            connection.end();
            await assertClosed(connection);
          }),
      );

      await t.test('T17: a client that sends all of a body beyond the limit still gets to read the 413', () =>
        victim.untouchedBy(async () => {
          const connection = await victim.open();
          connection.send(`${call}Content-Length: 8000000\r\n\r\n`).send(Buffer.alloc(8_000_000, 'a'));
          assertProblem(await connection.response(), 413, 'payload-too-large');
          connection.end();
          await assertClosed(connection);
        }),
      );

      await t.test('T17: a chunked body gets 413 as soon as it passes the limit, although its end has not come', () =>
        victim.untouchedBy(async () => {
          const connection = await victim.open();
          connection.send(`${call}Transfer-Encoding: chunked\r\n\r\n`);
          connection.send(`400\r\n${'a'.repeat(limit)}\r\n1\r\nb\r\n`);
          assertProblem(await connection.response(), 413, 'payload-too-large');
          connection.end();
          await assertClosed(connection);
        }),
      );

      await t.test('T17: a Content-Length of 2^53 gets 413 and reserves nothing', () =>
        victim.untouchedBy(async () => {
          const connection = await victim.open();
          connection.send(`${call}Content-Length: 9007199254740993\r\n\r\n`);
          assertProblem(await connection.response(), 413, 'payload-too-large');
          connection.destroy();
        }),
      );

      await t.test('a body of exactly the limit is accepted, by Content-Length and chunked', async () => {
        const connection = await victim.open();
        connection.send(requestBytes({ method: 'POST', path: '/v1/call/small', body: 'a'.repeat(limit) }));
        assert.equal((await connection.response())?.status, 202);
        connection.send(
          requestBytes({
            method: 'POST',
            path: '/v1/call/small',
            headers: [['Transfer-Encoding', 'chunked']],
            body: chunked('a'.repeat(1000), 'b'.repeat(24)),
          }),
        );
        assert.equal((await connection.response())?.status, 202);
        await assertUsable(connection);
      });

      await t.test('a result beyond the limit gets 413 on the reply URL, and the lease is still held', async () => {
        const drained = await victim.ask({
          method: 'POST',
          path: '/v1/services/small/leases',
          headers: [['Content-Type', 'application/json']],
          body: '{"max":100}',
        });
        assert.equal(drained.status, 200);
        const { token } = await leaseOne(victim, 'small');
        await victim.untouchedBy(async () =>
          assertProblem(
            await victim.ask({ method: 'POST', path: `/v1/leases/${token}/reply`, body: 'a'.repeat(limit + 1) }),
            413,
            'payload-too-large',
          ),
        );
        const kept = await victim.ask({ method: 'POST', path: `/v1/leases/${token}/reply`, body: 'a'.repeat(limit) });
        assert.equal(kept.status, 200, kept.text);
      });

      await t.test('a refused request with a small unread body leaves the connection usable', () =>
        victim.untouchedBy(async () => {
          const connection = await victim.open();
          connection.send(requestBytes({ method: 'POST', path: '/v1/call/nobody', body: 'a'.repeat(2000) }));
          assertProblem(await connection.response(), 404, 'unknown-service');
          await assertUsable(connection);
        }),
      );

      await t.test(
        'T19: Expect: 100-continue is answered 100 once the body is wanted, and the request then served',
        async () => {
          const connection = await victim.open();
          connection.send(`${call}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n`);
          while (connection.bytesReceived === 0)
            await new Promise((resolve) => connection.socket.once('data', resolve));
          connection.send('abc');
          assert.equal((await connection.response())?.status, 202);
          assert.deepEqual(connection.interim, [100]);
        },
      );

      for (const [what, head, status, code] of [
        ['a body beyond the limit', `${call}Content-Length: ${limit + 1}\r\n`, 413, 'payload-too-large'],
        [
          'a service that does not exist',
          'POST /v1/call/nobody HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n',
          404,
          'unknown-service',
        ],
        ['a header that is wrong', `${call}Operation-Timeout: soon\r\nContent-Length: 3\r\n`, 400, 'invalid-parameter'],
      ] as const) {
        await t.test(`T19: Expect: 100-continue before ${what} gets ${status} and never a 100`, () =>
          victim.untouchedBy(async () => {
            const connection = await victim.open();
            connection.send(`${head}Expect: 100-continue\r\n\r\n`);
            assertProblem(await connection.response(), status, code);
            assert.deepEqual(connection.interim, []);
            connection.end();
            await assertClosed(connection);
          }),
        );
      }

      await t.test('T19: an expectation that is not known gets 417', () =>
        victim.untouchedBy(async () => {
          const connection = await victim.open();
          connection.send(`${call}Expect: a-teapot\r\nContent-Length: 3\r\n\r\n`);
          assertProblem(await connection.response(), 417, 'expectation-failed');
          connection.end();
          await assertClosed(connection);
        }),
      );

      await t.test('T20: a Range of 1,000 ranges is ignored: the whole result with 200', async () => {
        const { token, operation } = await leaseOne(victim, 'ranged');
        const replied = await victim.ask({ method: 'POST', path: `/v1/leases/${token}/reply`, body: 'a'.repeat(1000) });
        assert.equal(replied.status, 200, replied.text);
        const ranges = Array.from({ length: 1000 }, (_, i) => `${i}-${i}`).join(',');
        const result = await victim.ask({
          path: `/v1/operations/${operation.id}/result`,
          headers: [['Range', `bytes=${ranges}`]],
        });
        assert.equal(result.status, 200);
        assert.equal(result.text, 'a'.repeat(1000));
        assert.equal(result.header('content-range'), undefined);
        assert.equal(result.header('accept-ranges'), undefined);
      });
    },
  );
});

test('bodies in memory are bounded over all requests: beyond it 503, nothing accepted, and room again once one has gone', async (t) => {
  await underAttack(
    t,
    { services: { work: { target: { pull: true }, maxBody: '900kb' } }, fields: { maxBodyMemory: '1mb' } },
    async (victim) => {
      const body = 'a'.repeat(700_000);
      const head = `POST /v1/call/work HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n`;
      const holder = await victim.open();
      await victim.untouchedBy(async () => {
        holder.send(head).send(body.slice(1));
        // The room is taken when the head is read, which is certain once a later request of the same size is refused.
        for (;;) {
          const answer = await victim.ask({ method: 'POST', path: '/v1/call/nobody', body: 'x' });
          assert.equal(answer.status, 404);
          const metrics = await victim.ask({ path: '/metrics' });
          if (/^waitless_body_bytes 700000$/m.test(metrics.text)) break;
        }
        const refused = await victim.ask({ method: 'POST', path: '/v1/call/work', body });
        assertProblem(refused, 503, 'overloaded');
        assert.equal(refused.json()['accepted'], false);
      });
      holder.send('a');
      assert.equal((await holder.response())?.status, 202);
      const accepted = await victim.ask({ method: 'POST', path: '/v1/call/work', body });
      assert.equal(accepted.status, 202, accepted.text);
    },
  );
});

test('a client that leaves in the middle of its body gives its room back', async (t) => {
  await underAttack(t, { services: { work: { target: { pull: true } } } }, (victim) =>
    victim.untouchedBy(async () => {
      const connection = await victim.open();
      connection.send('POST /v1/call/work HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n\r\nabc');
      while (!/^waitless_body_bytes 500000$/m.test((await victim.ask({ path: '/metrics' })).text));
      connection.destroy();
    }),
  );
});
