// Pages for people: whatever a stranger could name or send is text on them, and each state says what to do next.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { errorTable, type Operation, type ServiceSummary } from '@waitless/protocol';
import { homePage } from './home-page.ts';
import { escapeHtml, html } from './html.ts';
import { pageHeaders } from './page.ts';
import { problemPage } from './problem-page.ts';
import { stylesheet } from './stylesheet.ts';
import { age, roughly, shellWord, stateInWords } from './words.ts';

const nowMs = Date.parse('2026-01-05T12:00:00Z');
const service = (name = 'score', more: Partial<ServiceSummary> = {}): ServiceSummary => ({
  name,
  target: 'http',
  mode: 'async',
  source: 'config',
  counts: { queued: 1, running: 2, succeeded: 12345, failed: 4, cancelled: 5 },
  recent: { p50Ms: 1840, p90Ms: 4200, perMinute: 510 },
  ...more,
});
const operation = (more: Partial<Operation> = {}): Operation => ({
  id: 'op1',
  service: 'score',
  correlationId: 'op1',
  key: null,
  labels: {},
  createdAt: '2026-01-05T11:59:48Z',
  resourceLocation: 'http://x',
  links: { self: 'http://x', result: 'http://x', timeline: 'http://x', deliveries: 'http://x' },
  status: 'queued',
  done: false,
  version: 1,
  eventId: 'op1_1',
  startedAt: null,
  updatedAt: '2026-01-05T11:59:48Z',
  finishedAt: null,
  attempt: 0,
  maxAttempts: 5,
  runAt: null,
  deadline: null,
  progress: null,
  queuePosition: null,
  estimatedCompletionAt: null,
  expiresAt: null,
  error: null,
  ...more,
});
const home = (more: Partial<Parameters<typeof homePage>[0]> = {}): string =>
  homePage({ url: 'http://127.0.0.1:7878', version: '0.1.0', services: [], operations: [], nowMs, ...more });
const text = (page: string): string =>
  page
    .replace(/<[^>]*>/g, ' ')
    .replace(
      /&(lt|gt|quot|#39|amp);/g,
      (_, name: string) => ({ lt: '<', gt: '>', quot: '"', '#39': "'", amp: '&' })[name]!,
    )
    .replace(/\s+/g, ' ');
/** The shape of a page: its tags with the names of their attributes, as a browser reads them, without any text or value. */
const shape = (page: string): string[] =>
  [...page.matchAll(/<(\/?[a-z!][a-z0-9]*)((?:\s+[a-z-]+(?:="[^"]*")?)*)\s*\/?>/gi)].map(([, tag, attributes]) =>
    `${tag}${attributes!.replace(/="[^"]*"/g, '')}`.replace(/\s+/g, ' ').toLowerCase(),
  );

describe('hostile text', () => {
  const attacks = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    '</code></pre><iframe src=javascript:alert(1)>',
    '</title><script>',
    '<!--',
    '-->',
    '&lt;script&gt;',
    'javascript:alert(1)',
    '" onmouseover="alert(1)',
    "' style='position:fixed",
    '${alert(1)}',
    '\u0000<b>',
    ']]><script>',
    '%3Cscript%3E',
    '../../etc/passwd',
    '\u202e<b>',
    "it's; $(rm -rf ~)",
  ];
  for (const attack of attacks) {
    test(JSON.stringify(attack), () => {
      const progress = { sequence: 1, stage: attack, message: attack, percent: 5 };
      const pageOf = (word: string): string =>
        home({
          url: `http://127.0.0.1:7878/${word}`,
          version: word,
          services: [service(word), service(word, { target: 'pull' })],
          operations: [
            operation({ id: word, service: word, correlationId: `c${word}`, createdAt: word }),
            operation({
              id: word,
              service: word,
              status: 'running',
              attempt: 2,
              progress: { ...progress, stage: word, message: word },
            }),
            operation({ status: 'failed', done: true, error: { code: word, message: word } }),
          ],
        });
      const page = pageOf(attack);
      assert.deepEqual(shape(page), shape(pageOf('harmless')));
      // No angle bracket of the text is left beside those of our tags, and none of these can run or load anything.
      assert.equal(page.split('<').length - 1, shape(page).length);
      for (const tag of shape(page)) {
        assert.doesNotMatch(tag, /^(script|img|svg|iframe|object|embed|form|base|style)\b| (on[a-z]+|style|srcdoc)\b/);
      }
      for (const [, link] of page.matchAll(/href="([^"]*)"/g))
        assert.match(link!, /^(\.\/|\.\/style\.css|data:image\/svg\+xml,)/);
    });
  }

  test('the template escapes text, numbers and lists, and leaves its own markup alone', () => {
    assert.equal(
      html`<a href="${'"><b>'}">${['<i>', html`<b>${'&'}</b>`]}${7}${undefined}</a>`.markup,
      '<a href="&quot;&gt;&lt;b&gt;">&lt;i&gt;<b>&amp;</b>7</a>',
    );
    assert.equal(escapeHtml('a\u0000\u001b[31m\n'), 'a\ufffd\ufffd[31m\n');
  });

  test('a command is one a shell takes as meant', () => {
    assert.equal(shellWord('http://127.0.0.1:7878/v1/call/score'), 'http://127.0.0.1:7878/v1/call/score');
    assert.equal(shellWord("http://x/?a=1&b=it's"), "'http://x/?a=1&b=it'\\''s'");
  });
});

describe('home page', () => {
  test('without services it says how to get one', () =>
    assert.match(text(home()), /no service yet.*npx waitless serve --target score=http:\/\/127\.0\.0\.1:9001/));

  test('without operations it shows the first call', () => {
    assert.match(
      text(home({ services: [service()] })),
      /curl -i http:\/\/127\.0\.0\.1:7878\/v1\/call\/score -H 'Content-Type: application\/json' -d '\{"customerId": 42\}'.*None yet/,
    );
    assert.match(
      text(home({ services: [service('jobs', { target: 'pull' })] })),
      /v1\/services\/jobs\/leases -H 'Content-Type: application\/json' -d/,
    );
  });

  test('with operations it shows how to fetch the newest', () => {
    const waiting = text(home({ services: [service()], operations: [operation()] }));
    assert.match(
      waiting,
      /Wait for the newest result: curl -i http:\/\/127\.0\.0\.1:7878\/v1\/operations\/op1\/result -H 'Prefer: wait=30'/,
    );
    assert.match(
      text(home({ services: [service()], operations: [operation({ status: 'succeeded', done: true })] })),
      /Fetch the newest result: curl -i \S+\/result Send/,
    );
  });

  test('services have their counts, operations their state, age and links', () => {
    const page = home({ services: [service()], operations: [operation()] });
    assert.match(text(page), /score its backend 1 2 12,345 4 5 1\.8 s/);
    const unknown = service('new', { recent: { p50Ms: null, p90Ms: null, perMinute: 0 } });
    assert.match(text(home({ services: [unknown], operations: [] })), /new its backend 1 2 12,345 4 5 –/);
    assert.match(text(page), /op1 score waiting to start 12 s ago status result timeline/);
    for (const link of ['', '/result', '/timeline'])
      assert.ok(page.includes(`href="./v1/operations/op1${link}"`), link);
  });

  test('at most 20 operations', () => {
    const operations = Array.from({ length: 30 }, (_, index) => operation({ id: `op${index}` }));
    const page = home({ services: [service()], operations });
    assert.ok(page.includes('>op19<') && !page.includes('>op20<'));
  });

  test('where keys are asked for it shows neither services nor operations', () => {
    const page = home({
      services: [service('secret-service')],
      operations: [operation({ id: 'secret-operation' })],
      keyRequired: true,
    });
    assert.ok(!page.includes('secret-'));
    assert.match(text(page), /asks for an API key.*Authorization: Bearer \$WAITLESS_API_KEY/);
  });

  test('no script, no inline style; the policy would stop both', () => {
    const page = home({ services: [service()], operations: [operation()] });
    assert.doesNotMatch(page, /<script|<style|style=|javascript:|https?:\/\/(?!127\.0\.0\.1|www\.w3\.org)/);
    assert.match(pageHeaders['Content-Security-Policy']!, /default-src 'none'; style-src 'self'/);
    assert.doesNotMatch(pageHeaders['Content-Security-Policy']!, /unsafe|script-src/);
    assert.doesNotMatch(stylesheet, /@import|url\(/);
  });
});

describe('words', () => {
  const cases: [more: Partial<Operation>, state: string, note: string | undefined][] = [
    [{}, 'waiting to start', undefined],
    [{ runAt: '2026-01-05T12:05:30Z' }, 'waiting to start', 'in 5 min'],
    [{ attempt: 2, runAt: '2026-01-05T12:00:09Z' }, 'waiting to try again', 'in 9 s, 2 of 5 attempts used'],
    [{ status: 'running', attempt: 1 }, 'running', 'attempt 1 of 5'],
    [
      { status: 'running', attempt: 1, maxAttempts: 1, progress: { sequence: 1, percent: 66.4, stage: 'bureaus' } },
      'running',
      '66 %, bureaus',
    ],
    [
      {
        status: 'succeeded',
        done: true,
        attempt: 1,
        startedAt: '2026-01-05T11:00:00Z',
        finishedAt: '2026-01-05T11:00:02.500Z',
      },
      'done',
      'took 2.5 s',
    ],
    [{ status: 'succeeded', done: true, attempt: 3 }, 'done', 'attempt 3 of 5'],
    [
      { status: 'failed', done: true, attempt: 5, error: { code: 'timed-out', message: 'x' } },
      'failed',
      'timed-out, attempt 5 of 5',
    ],
    [{ status: 'cancelled', done: true }, 'cancelled', undefined],
  ];
  for (const [more, state, note] of cases)
    test(`${state}: ${note ?? 'nothing to add'}`, () =>
      assert.deepEqual(stateInWords(operation(more), nowMs), { state, note }));

  test('ages', () => {
    assert.deepEqual(
      [
        '2026-01-05T12:00:01Z',
        '2026-01-05T11:59:59.500Z',
        '2026-01-05T11:59:30Z',
        '2026-01-05T09:10:00Z',
        '2026-01-04T11:00:00Z',
        'junk',
      ].map((time) => age(time, nowMs)),
      ['just now', 'just now', '30 s ago', '2 h ago', '1 day ago', ''],
    );
    assert.deepEqual([0, 59_999, 60_000, 3_600_000, 172_800_000].map(roughly), [
      '0 s',
      '59 s',
      '1 min',
      '1 h',
      '2 days',
    ]);
  });
});

describe('problem pages', () => {
  test('every code has one, with its title, help and status', () => {
    for (const [code, { title, help, status }] of Object.entries(errorTable)) {
      const found = text(problemPage(code)!);
      for (const part of [title, help, code, `Status ${status}`])
        assert.ok(found.includes(part.replace(/\s+/g, ' ')), `${code}: ${part}`);
    }
  });
  test('other codes have none', () => {
    for (const code of ['', 'nope', '<script>', '__proto__', 'constructor', 'toString'])
      assert.equal(problemPage(code), undefined);
  });
});
