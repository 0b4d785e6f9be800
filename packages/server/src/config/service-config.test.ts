// The service document: every field, its default, and every way to get it wrong, named by its path.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { ConfigError } from './config-error.ts';
import { readService, serviceFields } from './service-config.ts';

const limits = { maxWaitMs: 50_000, maxBodyMemoryBytes: 256 * 1024 * 1024 };
const url = 'http://127.0.0.1:9001/score';
const read = (document: unknown, name = 'score') => readService({ name, document, limits });
const secretOf = (bytes: number): string => `whsec_${randomBytes(bytes).toString('base64')}`;
const whsec = secretOf(32);
const withUrl = (fields: Record<string, unknown>) => read({ target: { url }, ...fields });

describe('service documents', () => {
  test('the defaults of a push service', () => {
    assert.deepEqual(read({ target: { url } }), {
      name: 'score',
      target: { kind: 'http', url, headers: {} },
      mode: 'async',
      syncWaitMs: 30_000,
      forward: [],
      retryFailed: false,
      idempotencyTtlMs: 86_400_000,
      timeoutMs: 600_000,
      attemptTimeoutMs: 60_000,
      replyTimeoutMs: 3_600_000,
      leaseMs: 30_000,
      retry: { maxAttempts: 5, initialDelayMs: 1000, maxDelayMs: 300_000 },
      concurrency: 16,
      maxBodyBytes: 10 * 1024 * 1024,
      retentionMs: 86_400_000,
      key: [],
      keyMethods: ['GET', 'HEAD', 'POST'],
      validForMs: undefined,
      staleMs: 0,
      poll: false,
      rate: undefined,
      maxQueued: undefined,
      publishTransitions: false,
      priority: 5,
    });
  });

  test('a secret, or two while one is replaced; and without one signatures of callers are headers like others', () => {
    for (const secret of [whsec, secretOf(24), secretOf(64)])
      assert.deepEqual(read({ target: { url, secret } }).target, { kind: 'http', url, headers: {}, secrets: [secret] });
    const two = [secretOf(32), whsec];
    assert.deepEqual(read({ target: { url, secret: two } }).target, { kind: 'http', url, headers: {}, secrets: two });
    const unsigned = withUrl({ forward: ['webhook-id'], key: { header: 'Webhook-Id' } });
    assert.deepEqual(unsigned.forward, ['webhook-id']);
  });

  test('a pull service has no limit of its own: its workers set the pace', () => {
    const service = read({ target: { pull: true } });
    assert.deepEqual(service.target, { kind: 'pull' });
    assert.equal(service.concurrency, Number.POSITIVE_INFINITY);
  });

  test('every field as given', () => {
    const service = read({
      target: { url, headers: { Authorization: 'Bearer x' } },
      mode: 'sync',
      syncWait: '5s',
      forward: ['Authorization', 'cookie', 'authorization'],
      retryFailed: true,
      idempotencyTtl: '1h',
      timeout: '1h',
      attemptTimeout: '90s',
      replyTimeout: '2d',
      lease: '1500ms',
      retry: { maxAttempts: 1, initialDelay: '0s', maxDelay: '1m' },
      concurrency: 3,
      maxBody: '1.5mb',
      retention: '7d',
      priority: 0,
    });
    assert.deepEqual(service.target, { kind: 'http', url, headers: { Authorization: 'Bearer x' } });
    assert.deepEqual(service.forward, ['authorization', 'cookie']);
    assert.deepEqual(service.retry, { maxAttempts: 1, initialDelayMs: 0, maxDelayMs: 60_000 });
    assert.deepEqual(
      [
        service.mode,
        service.syncWaitMs,
        service.retryFailed,
        service.leaseMs,
        service.concurrency,
        service.maxBodyBytes,
        service.priority,
        service.replyTimeoutMs,
      ],
      ['sync', 5000, true, 1500, 3, 1_572_864, 0, 172_800_000],
    );
  });

  test('everything about results worth keeping, and what limits those who ask', () => {
    const service = withUrl({
      key: { body: '/customer/id', methods: ['POST', 'GET'] },
      validFor: '24h',
      staleWhileRevalidate: '1h',
      poll: true,
      rate: '600/m',
      maxQueued: 100_000,
    });
    assert.deepEqual(service.key, [{ from: 'body', pointer: '/customer/id' }]);
    assert.deepEqual(service.keyMethods, ['GET', 'POST']);
    assert.deepEqual(
      [service.validForMs, service.staleMs, service.poll, service.rate, service.maxQueued],
      [86_400_000, 3_600_000, true, { requests: 600, windowMs: 60_000 }, 100_000],
    );
    const parts = [{ query: 'a b' }, { header: 'X-Customer' }, { path: 2 }, { body: '/a~1b/~0/0//' }];
    assert.deepEqual(withUrl({ key: parts }).key, [
      { from: 'query', name: 'a b' },
      { from: 'header', name: 'x-customer' },
      { from: 'path', segment: 2 },
      { from: 'body', pointer: '/a~1b/~0/0//' },
    ]);
    assert.deepEqual(
      ['1/s', '1000000000/h'].map((rate) => withUrl({ rate }).rate),
      [
        { requests: 1, windowMs: 1_000 },
        { requests: 1_000_000_000, windowMs: 3_600_000 },
      ],
    );
    assert.equal(read({ target: { pull: true }, poll: false, validFor: '1h' }).poll, false);
  });

  test('no header that is a secret or a directive to Waitless is a key', () => {
    for (const header of ['Authorization', 'cookie', 'Proxy-Authorization', 'X-Api-Key'])
      assert.throws(() => withUrl({ key: { header } }), { message: /carries a credential, and keys are shown/ });
    const ours = ['Result-Key', 'Correlation-Id', 'Idempotency-Key', 'Operation-Reply-Url', 'traceparent', 'Prefer'];
    for (const header of [
      ...ours,
      'Cache-Control',
      'Connection',
      'Content-Length',
      'Host',
      'Range',
      'Operation-Status',
    ])
      assert.throws(() => withUrl({ key: { header } }), { message: /is not passed on as it came/ });
  });

  test('a header that the target sets itself is no key: the backend never sees that of the request', () => {
    const target = { url, headers: { 'X-Customer': '42' } };
    for (const key of [{ header: 'x-customer' }, [{ query: 'a' }, { header: 'X-Customer' }]])
      assert.throws(() => read({ target, key }), {
        field: 'services.score.key',
        message: /target\.headers sets "x-customer"/,
      });
    assert.equal(read({ target, key: { header: 'X-Other' } }).key.length, 1);
  });

  test('defaults stay below what the server allows', () => {
    const service = readService({
      name: 's',
      document: { target: { url } },
      limits: { maxWaitMs: 10_000, maxBodyMemoryBytes: 1_048_576 },
    });
    assert.deepEqual([service.syncWaitMs, service.maxBodyBytes], [10_000, 1_048_576]);
  });

  for (const [field, built] of Object.entries(serviceFields)) {
    if (built) continue;
    test(`${field} is documented and not built yet`, () => {
      assert.throws(() => withUrl({ [field]: false }), {
        name: 'ConfigError',
        field: `services.score.${field}`,
        message: `services.score.${field}: not built yet; remove the field`,
      });
    });
  }

  const wrong: [title: string, document: unknown, field: string, message: RegExp][] = [
    ['no object', 'http://x', '', /it takes fields such as/],
    ['a list', [], '', /it takes fields such as/],
    ['no target', {}, '.target', /missing/],
    ['target as text', { target: url }, '.target', /\{"pull": true\}/],
    ['an empty target', { target: {} }, '.target', /exactly one of "url" and "pull"; add one/],
    ['two targets', { target: { url, pull: true } }, '.target', /exactly one of "url" and "pull"; remove one/],
    ['pull: false', { target: { pull: false } }, '.target.pull', /it takes true/],
    ['headers of a pull service', { target: { pull: true, headers: {} } }, '.target.headers', /only a backend/],
    [
      'a secret of a pull service',
      { target: { pull: true, secret: whsec } },
      '.target.secret',
      /only what is sent to a backend/,
    ],
    [
      'a secret that is none',
      { target: { url, secret: 'whsec_hunter2' } },
      '.target.secret',
      /^(?!.*hunter2).*openssl/,
    ],
    [
      'a secret without its prefix',
      { target: { url, secret: whsec.slice(6) } },
      '.target.secret',
      /"whsec_" and 24 to 64/,
    ],
    ['a secret with a line end', { target: { url, secret: `${whsec}\n` } }, '.target.secret', /"whsec_" and 24 to 64/],
    ['a secret too short', { target: { url, secret: secretOf(23) } }, '.target.secret', /24 to 64/],
    ['a secret too long', { target: { url, secret: secretOf(65) } }, '.target.secret', /24 to 64/],
    ['a secret that is a mask', { target: { url, secret: '***' } }, '.target.secret', /is shown in the place/],
    ['a secret that is a number', { target: { url, secret: 7 } }, '.target.secret', /24 to 64/],
    ['no secret in a list', { target: { url, secret: [] } }, '.target.secret', /one secret, or a list/],
    [
      'three secrets',
      { target: { url, secret: [secretOf(32), secretOf(32), secretOf(32)] } },
      '.target.secret',
      /one secret, or a list/,
    ],
    ['a secret twice', { target: { url, secret: [whsec, whsec] } }, '.target.secret', /twice; keep one/],
    [
      'a signature of your own beside a secret',
      { target: { url, secret: whsec, headers: { 'Webhook-Signature': 'v1,x' } } },
      '.target.headers.Webhook-Signature',
      /sets this header itself/,
    ],
    [
      "passing on the caller's signature beside a secret",
      { target: { url, secret: whsec }, forward: ['webhook-id'] },
      '.forward.0',
      /beside a target\.secret/,
    ],
    [
      "a key by the caller's signature beside a secret",
      { target: { url, secret: whsec }, key: { header: 'Webhook-Id' } },
      '.key',
      /"webhook-id" is ours/,
    ],
    ['amqp', { target: { amqp: {} } }, '.target.amqp', /not built yet/],
    ['a misspelt target', { target: { ulr: url } }, '.target.ulr', /did you mean "url"/],
    ['a misspelt field', { target: { url }, retries: {} }, '.retries', /no such field$/],
    [
      'a field nearly right',
      { target: { url }, attemptTimeOut: '1s' },
      '.attemptTimeOut',
      /did you mean "attemptTimeout"/,
    ],
    ['relative URL', { target: { url: '/score' } }, '.target.url', /http or https URL/],
    [
      'URL with a user',
      { target: { url: 'http://u:hunter2@x' } },
      '.target.url',
      /^(?!.*hunter2).*user name or password/,
    ],
    ['URL with a user alone', { target: { url: 'http://u@x' } }, '.target.url', /user name or password/],
    ['URL with a fragment', { target: { url: `${url}#a` } }, '.target.url', /no fragment/],
    ['URL with a line break', { target: { url: 'http://x/\na' } }, '.target.url', /control characters/],
    ['URL without host', { target: { url: 'http://' } }, '.target.url', /http or https URL/],
    ['header name', { target: { url, headers: { 'a b': 'x' } } }, '.target.headers.a b', /not a header name/],
    [
      'header value',
      { target: { url, headers: { a: 'hunter2\r\nb: c' } } },
      '.target.headers.a',
      /^(?!.*hunter2).*without line breaks/,
    ],
    ['header value no text', { target: { url, headers: { a: 1 } } }, '.target.headers.a', /must be text/],
    ['header twice', { target: { url, headers: { a: '1', A: '2' } } }, '.target.headers.A', /stands twice/],
    [
      'hop-by-hop header',
      { target: { url, headers: { 'Transfer-Encoding': 'chunked' } } },
      '.target.headers.Transfer-Encoding',
      /itself/,
    ],
    ['our own header', { target: { url, headers: { 'operation-id': 'x' } } }, '.target.headers.operation-id', /itself/],
    ['mode', { target: { url }, mode: 'fast' }, '.mode', /takes async or sync/],
    ['duration as number', { target: { url }, timeout: 30 }, '.timeout', /30 is not a duration/],
    ['duration zero', { target: { url }, lease: '0s' }, '.lease', /takes 1ms to 1d/],
    ['duration null', { target: { url }, retention: null }, '.retention', /null is not a duration/],
    ['syncWait over the cap', { target: { url }, syncWait: '2m' }, '.syncWait', /more than --max-wait 50s allows/],
    ['boolean', { target: { url }, retryFailed: 'yes' }, '.retryFailed', /true or false/],
    ['forward no list', { target: { url }, forward: 'cookie' }, '.forward', /takes a list/],
    [
      'forward of a hop-by-hop header',
      { target: { url }, forward: ['cookie', 'Connection'] },
      '.forward.1',
      /"Connection" cannot be passed on/,
    ],
    ['forward of our own', { target: { url }, forward: ['operation-reply-url'] }, '.forward.0', /cannot be passed on/],
    ['priority', { target: { url }, priority: 10 }, '.priority', /from 0 to 9/],
    ['concurrency', { target: { url }, concurrency: 0 }, '.concurrency', /from 1 to 10000/],
    [
      'concurrency of a pull service',
      { target: { pull: true }, concurrency: 4 },
      '.concurrency',
      /not built yet for a pull service/,
    ],
    ['a key as text', { target: { url }, key: '/id' }, '.key', /it takes where the key stands, such as \{"body"/],
    ['a key of nothing', { target: { url }, key: {} }, '.key', /exactly one of "body", "query", "header" and "path"/],
    [
      'a key of two places in one',
      { target: { url }, key: { body: '/a', query: 'b' } },
      '.key',
      /for a key of several parts write a list/,
    ],
    ['a key of an empty list', { target: { url }, key: [] }, '.key', /1 to 8 places/],
    [
      'a key of too many parts',
      { target: { url }, key: Array.from({ length: 9 }, (_, n) => ({ path: n + 1 })) },
      '.key',
      /1 to 8 places/,
    ],
    [
      'a key twice the same',
      { target: { url }, key: [{ header: 'X-A' }, { header: 'x-a' }] },
      '.key',
      /stands there twice; keep one/,
    ],
    [
      'a key of a misspelt place',
      { target: { url }, key: { boyd: '/a' } },
      '.key',
      /no place "boyd"; did you mean "body"\?/,
    ],
    [
      'a pointer without its slash',
      { target: { url }, key: { body: 'id' } },
      '.key',
      /not a JSON Pointer \(RFC 6901\); did you mean "\/id"\?/,
    ],
    ['a pointer with a bare tilde', { target: { url }, key: { body: '/a~2' } }, '.key', /write "~" as "~0"/],
    [
      'a pointer to everything',
      { target: { url }, key: { body: '' } },
      '.key',
      /it takes a JSON Pointer such as "\/customerId"/,
    ],
    [
      'a query without a name',
      { target: { url }, key: { query: 7 } },
      '.key',
      /7 does not fit; it takes the name of a query/,
    ],
    ['a header that is none', { target: { url }, key: { header: 'a b' } }, '.key', /"a b" is not a header name/],
    [
      'a segment as text',
      { target: { url }, key: { path: '1' } },
      '.key',
      /"1" does not fit; it takes a number from 1/,
    ],
    ['segment 0', { target: { url }, key: { path: 0 } }, '.key', /from 1 to 64/],
    [
      'a method that is not shared',
      { target: { url }, key: { path: 1, methods: ['PUT'] } },
      '.key',
      /"methods": \["PUT"\] does not fit/,
    ],
    ['no method', { target: { url }, key: { path: 1, methods: [] } }, '.key', /a list of GET, HEAD and POST/],
    [
      'methods in a list of parts',
      { target: { url }, key: [{ path: 1, methods: ['GET'] }] },
      '.key',
      /with a single place only/,
    ],
    ['validity of no time', { target: { url }, validFor: '0s' }, '.validFor', /takes 1ms to 365d/],
    ['staleness as number', { target: { url }, staleWhileRevalidate: 5 }, '.staleWhileRevalidate', /not a duration/],
    ['poll of a pull service', { target: { pull: true }, poll: true }, '.poll', /only a backend with a "url"/],
    ['poll as number', { target: { url }, poll: 1 }, '.poll', /true or false/],
    [
      'rate without a unit',
      { target: { url }, rate: '100' },
      '.rate',
      /"100" is not a rate; write how many in a second/,
    ],
    ['rate of none', { target: { url }, rate: '0/s' }, '.rate', /not a rate/],
    ['rate of a day', { target: { url }, rate: '5/d' }, '.rate', /such as 100\/s, 600\/m or 1000\/h/],
    ['queue of none', { target: { url }, maxQueued: 0 }, '.maxQueued', /whole number from 1/],
    ['size', { target: { url }, maxBody: 10 }, '.maxBody', /10 is not a size/],
    ['size over the memory', { target: { url }, maxBody: '300mb' }, '.maxBody', /more than --max-body-memory 256mb/],
    ['retry no object', { target: { url }, retry: 3 }, '.retry', /such as \{"maxAttempts": 5\}/],
    ['retry field', { target: { url }, retry: { attempts: 3 } }, '.retry.attempts', /no such field/],
    ['attempts', { target: { url }, retry: { maxAttempts: 0 } }, '.retry.maxAttempts', /from 1 to 1000/],
    [
      'delays crossed',
      { target: { url }, retry: { initialDelay: '10m' } },
      '.retry.initialDelay',
      /maxDelay 5m is shorter than initialDelay 10m/,
    ],
    ['delays crossed the other way', { target: { url }, retry: { maxDelay: '10ms' } }, '.retry.maxDelay', /shorter/],
  ];
  for (const [title, document, field, message] of wrong) {
    test(`refused: ${title}`, () => {
      assert.throws(
        () => read(document),
        (error: unknown) => {
          assert.ok(error instanceof ConfigError, String(error));
          assert.equal(error.field, `services.score${field}`);
          assert.match(error.message, message);
          assert.ok(error.message.startsWith(`${error.field}: `));
          return true;
        },
      );
    });
  }

  test('refused: keys that act on prototypes', () => {
    for (const key of ['__proto__', 'constructor', 'toString']) {
      const document: unknown = JSON.parse(`{"target": {"url": "${url}"}, ${JSON.stringify(key)}: {"pull": true}}`);
      assert.throws(() => read(document), { field: `services.score.${key}` });
    }
  });

  test('refused: names that are none', () => {
    for (const name of ['', 'a b', '-a', '../x', 'a'.repeat(129), 'é'])
      assert.throws(() => read({ target: { url } }, name), { name: 'ConfigError' });
  });
});
