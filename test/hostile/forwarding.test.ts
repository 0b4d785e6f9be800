// What goes on to a backend and what comes back through us: credentials, hop-by-hop fields and our own names do not cross, all else does untouched.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backendFor } from '../support/backend.ts';
import { requestBytes } from '../support/raw-http.ts';
import { assertProblem, underAttack, type Victim } from '../support/victim.ts';

/** Names and values in turn, as pairs. */
const pairs = (raw: readonly string[]): [string, string][] =>
  raw.flatMap((name, i): [string, string][] => (i % 2 === 0 ? [[name, raw[i + 1]!]] : []));

/** What Waitless itself sends along with every attempt. */
const ours =
  /^(operation-(id|attempt|last-attempt|deadline|reply-url|progress-url)|correlation-id|idempotency-key|host|connection|content-length)$/i;

const submit = async (victim: Victim, service: string, headers: readonly (readonly [string, string])[]) => {
  const answer = await victim.ask({
    method: 'POST',
    path: `/v1/call/${service}`,
    headers: [...headers, ['Prefer', 'wait=30']],
    body: 'x',
  });
  assert.equal(answer.status, 200, answer.text);
  return answer;
};

test('T35: hop-by-hop fields, credentials, conditions and our own names are not passed on', async (t) => {
  const backend = await backendFor(t);
  const services = {
    plain: { target: { url: backend.url } },
    trusted: { target: { url: backend.url }, forward: ['authorization', 'cookie'] },
  };
  await underAttack(t, { services }, async (victim) => {
    await submit(victim, 'plain', [
      ['Authorization', 'Bearer secret'],
      ['Proxy-Authorization', 'Basic secret'],
      ['Cookie', 'session=secret'],
      ['Connection', 'keep-alive, X-Hop-By-Hop ,x-another'],
      ['X-Hop-By-Hop', 'gone'],
      ['X-Another', 'gone'],
      ['Keep-Alive', 'timeout=5'],
      ['Proxy-Connection', 'keep-alive'],
      ['TE', 'trailers'],
      ['Trailer', 'X-Late'],
      ['Upgrade', 'h2c'],
      ['HTTP2-Settings', 'AAMAAABkAAQCAAAAAAIAAAAA'],
      ['Accept-Encoding', 'gzip'],
      ['Range', 'bytes=0-1'],
      ['If-Match', '"a"'],
      ['If-None-Match', '"a"'],
      ['If-Modified-Since', 'Thu, 01 Jan 1970 00:00:00 GMT'],
      ['If-Unmodified-Since', 'Thu, 01 Jan 1970 00:00:00 GMT'],
      ['If-Range', '"a"'],
      ['Cache-Control', 'no-cache'],
      ['Operation-Id', 'spoofed'],
      ['Operation-Attempt', '99'],
      ['Operation-Deadline', '1970-01-01T00:00:00Z'],
      ['Operation-Reply-Url', 'http://evil.example/'],
      ['Operation-Progress-Url', 'http://evil.example/'],
      ['Operation-Labels', 'a=b'],
      ['Operation-Timeout', '60s'],
      ['Correlation-Id', 'mine'],
      ['Idempotency-Key', 'mine'],
      ['Content-Type', 'text/plain'],
      ['X-Kept', 'first'],
      ['x-kept', 'second'],
      ['X-Latin', '\xe9'],
      ['X-Empty', ''],
      ['Accept', '*/*'],
    ]);
    const [request] = backend.requests;
    assert.deepEqual(
      pairs(request!.rawHeaders).filter(([name]) => !ours.test(name)),
      [
        ['Content-Type', 'text/plain'],
        ['X-Kept', 'first'],
        ['x-kept', 'second'],
        ['X-Latin', '\xe9'],
        ['X-Empty', ''],
        ['Accept', '*/*'],
      ],
    );
    const named = (name: string): string[] =>
      pairs(request!.rawHeaders)
        .filter(([own]) => own.toLowerCase() === name)
        .map(([, value]) => value);
    assert.deepEqual(named('host'), [new URL(backend.url).host], 'one Host, the backend’s');
    assert.deepEqual(named('content-length'), ['1']);
    assert.deepEqual(named('correlation-id'), ['mine']);
    assert.deepEqual(named('operation-attempt'), ['1']);
    assert.equal(named('operation-id').length, 1);
    assert.deepEqual(named('idempotency-key'), [`"${named('operation-id')[0]}"`]);
    assert.equal(named('operation-reply-url').length, 1);
    assert.ok(named('operation-reply-url')[0]!.startsWith(`${victim.server.url}/v1/leases/`));

    await submit(victim, 'trusted', [
      ['Authorization', 'Bearer for-the-backend'],
      ['Cookie', 'a=b'],
      ['Proxy-Authorization', 'Basic secret'],
    ]);
    const trusted = backend.requests[1]!.headers;
    assert.equal(trusted['authorization'], 'Bearer for-the-backend');
    assert.equal(trusted['cookie'], 'a=b');
    assert.equal(trusted['proxy-authorization'], undefined);

    await submit(victim, 'trusted', [
      ['Authorization', 'Bearer for-this-hop'],
      ['Connection', 'Authorization, close'],
    ]);
    assert.equal(backend.requests[2]!.headers['authorization'], undefined, 'named by Connection: of this hop alone');
  });
});

test('T35: a carriage return or line feed in a field gets 400 and never reaches a backend', async (t) => {
  const backend = await backendFor(t);
  await underAttack(t, { services: { plain: { target: { url: backend.url } } } }, async (victim) => {
    for (const value of ['a\rb', 'a\nb: c', 'a\r\n b', '\0']) {
      await t.test(JSON.stringify(value), () =>
        victim.untouchedBy(async () => {
          const connection = await victim.open();
          connection.send(
            requestBytes({ method: 'POST', path: '/v1/call/plain', headers: [['X-Split', value]], body: 'x' }),
          );
          assert.equal((await connection.response())?.status, 400);
          connection.destroy();
        }),
      );
    }
    assert.equal(backend.requests.length, 0);
  });
});

test('fields of a backend that would act on our origin or speak in our name are not replayed', async (t) => {
  const backend = await backendFor(t, () => ({
    headers: [
      ['Set-Cookie', 'session=evil; Path=/'],
      ['Set-Cookie', 'second=evil'],
      ['Access-Control-Allow-Origin', '*'],
      ['Access-Control-Allow-Credentials', 'true'],
      ['Strict-Transport-Security', 'max-age=31536000'],
      ['Clear-Site-Data', '"*"'],
      ['Alt-Svc', 'h2="evil.example:443"'],
      ['Retry-After', '9999'],
      ['Cache-Control', 'public, max-age=31536000'],
      ['Content-Security-Policy', 'default-src *'],
      ['X-Content-Type-Options', 'sniff'],
      ['Connection', 'X-Hop'],
      ['X-Hop', 'gone'],
      ['Operation-Id', 'spoofed'],
      ['Operation-Status', 'cancelled'],
      ['Correlation-Id', 'spoofed'],
      ['Idempotent-Replayed', 'true'],
      ['Request-Id', 'spoofed'],
      ['Content-Location', 'http://evil.example/'],
      ['ETag', '"spoofed"'],
      ['Age', '5'],
      ['Content-Type', 'text/html'],
      ['X-Kept', 'one'],
      ['X-Kept', 'two'],
    ].flat(),
    body: '<script>alert(1)</script>',
  }));
  await underAttack(t, { services: { evil: { target: { url: backend.url } } } }, async (victim) => {
    const answered = await submit(victim, 'evil', []);
    const id = answered.header('operation-id')!;
    const looked = await victim.ask({ path: `/v1/operations/${id}/result` });
    for (const answer of [answered, looked]) {
      const values = (name: string): string[] =>
        answer.fields.filter(([own]) => own === name).map(([, value]) => value);
      for (const name of [
        'set-cookie',
        'access-control-allow-origin',
        'access-control-allow-credentials',
        'strict-transport-security',
        'clear-site-data',
        'alt-svc',
        'retry-after',
        'x-hop',
        'idempotent-replayed',
        'age',
      ])
        assert.deepEqual(values(name), [], name);
      assert.deepEqual(values('cache-control'), ['private, no-cache']);
      assert.deepEqual(values('content-security-policy'), ['sandbox']);
      assert.deepEqual(values('x-content-type-options'), ['nosniff']);
      assert.deepEqual(values('operation-id'), [id]);
      assert.deepEqual(values('operation-status'), ['succeeded']);
      assert.deepEqual(values('correlation-id'), [id]);
      assert.deepEqual(values('content-location'), [`${victim.server.url}/v1/operations/${id}/result`]);
      assert.equal(values('etag').length, 1);
      assert.notEqual(values('etag')[0], '"spoofed"');
      assert.deepEqual(values('request-id').length, 1);
      assert.deepEqual(values('content-type'), ['text/html']);
      assert.deepEqual(values('x-kept'), ['one', 'two']);
      assert.equal(answer.text, '<script>alert(1)</script>');
    }
    const envelope = (await victim.ask({ path: `/v1/operations/${id}/result?envelope=json` })).json<{
      headers: [string, string][];
    }>();
    assert.deepEqual(
      envelope.headers.filter(([name]) => /^set-cookie$/i.test(name)).map(([, value]) => value),
      ['session=evil; Path=/', 'second=evil'],
      'the envelope shows what a replay leaves out',
    );
  });
});

test('an answer of a backend that would act on the client as if it were ours is shown in the envelope alone', async (t) => {
  const statuses = [301, 302, 304, 307, 308, 401, 407];
  const backend = await backendFor(t, ({ target }) => ({
    status: Number(target.slice(1)),
    headers: { Location: 'http://evil.example/', 'WWW-Authenticate': 'Basic realm="give me your key"' },
  }));
  await underAttack(t, { services: { evil: { target: { url: backend.url } } } }, async (victim) => {
    for (const status of statuses) {
      await t.test(`${status} gets 502 bad-backend-response, with neither Location nor WWW-Authenticate`, async () => {
        const answered = await victim.ask({
          method: 'POST',
          path: `/v1/call/evil/${status}`,
          headers: [['Prefer', 'wait=30']],
          body: 'x',
        });
        assertProblem(answered, 502, 'bad-backend-response');
        assert.equal(answered.header('operation-status'), undefined, 'a problem of ours');
        const id = answered.header('operation-id')!;
        const looked = await victim.ask({ path: `/v1/operations/${id}/result` });
        assertProblem(looked, 502, 'bad-backend-response');
        for (const answer of [answered, looked]) {
          assert.equal(answer.header('location'), undefined);
          assert.equal(answer.header('www-authenticate'), undefined);
        }
        const envelope = await victim.ask({ path: `/v1/operations/${id}/result?envelope=json` });
        assert.equal(envelope.status, 200);
        assert.equal(envelope.json()['status'], status);
      });
    }
  });
});
