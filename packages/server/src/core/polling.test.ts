// What the answers of backends that have to be asked mean, as tables.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ResultContent } from '../engine/engine.ts';
import { firstPoll, judgeLook, type LookVerdict, nextLookAt } from './polling.ts';

const looked = { url: 'http://api.test:9001/v1/reports', nowMs: 1_000_000, sinceMs: 1_000_000 };

const response = (status: number, headers: Record<string, string> = {}, body: unknown = ''): ResultContent => ({
  status,
  headers: Object.entries(headers).flat(),
  body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
  hash: 'h',
});

describe('the first look after a 202', () => {
  const rows: [name: string, headers: Record<string, string>, url: string | undefined | RegExp][] = [
    ['says nowhere', {}, undefined],
    ['an absolute Location', { Location: 'http://api.test:9001/v1/jobs/7' }, 'http://api.test:9001/v1/jobs/7'],
    ['a Location below the origin', { location: '/jobs/7?x=1#there' }, 'http://api.test:9001/jobs/7?x=1'],
    ['a relative Location', { Location: 'reports/7' }, 'http://api.test:9001/v1/reports/7'],
    ['a status document', { 'Operation-Location': '/ops/7' }, 'document http://api.test:9001/ops/7 '],
    [
      'a status document and where the result will be',
      { 'Operation-Location': '/ops/7', Location: '/results/7' },
      'document http://api.test:9001/ops/7 http://api.test:9001/results/7',
    ],
    ['another host', { Location: 'http://other.test/jobs/7' }, /Location .* points to http:\/\/other\.test/],
    ['another port', { 'Operation-Location': 'http://api.test:9002/jobs' }, /Operation-Location .* points to/],
    ['another scheme', { Location: 'https://api.test:9001/' }, /points to https/],
    ['a host without a scheme', { Location: '//evil.test/x' }, /points to http:\/\/evil\.test/],
    ['no URL of ours', { Location: 'file:///etc/passwd' }, /is no URL/],
    ['nothing that can be read', { Location: 'http://[' }, /is no URL/],
  ];
  for (const [name, headers, expected] of rows) {
    test(name, () => {
      if (expected instanceof RegExp) assert.throws(() => firstPoll(response(202, headers), looked), expected);
      else assert.equal(firstPoll(response(202, headers), looked)?.url, expected);
    });
  }
});

test('the backend says when it is to be asked; otherwise the longer it takes the rarer', () => {
  const after = (retryAfter: string | undefined, workedMs = 0): number =>
    nextLookAt(response(202, retryAfter === undefined ? {} : { 'Retry-After': retryAfter }), {
      ...looked,
      sinceMs: looked.nowMs - workedMs,
    }) - looked.nowMs;
  assert.equal(after('7'), 7000);
  assert.equal(after('0'), 1000, 'not in a loop');
  assert.equal(after('999999'), 3_600_000);
  assert.equal(after('soon', 20_000), 5000);
  assert.deepEqual([after(undefined), after(undefined, 40_000), after(undefined, 4_000_000)], [1000, 10_000, 30_000]);
});

describe('the answer to a look', () => {
  const at = 'http://api.test:9001/ops/7';
  const doc = `document ${at} `;
  const withResult = `document ${at} http://api.test:9001/results/7`;
  const rows: [name: string, asked: string, answer: ResultContent, verdict: string][] = [
    ['Location: 202 is pending', at, response(202), `pending ${at}`],
    ['Location: 202 that moved', at, response(202, { Location: '/ops/8' }), 'pending http://api.test:9001/ops/8'],
    ['Location: 202 with a percent', at, response(202, {}, { percentComplete: 40 }), `pending ${at} 40`],
    ['Location: 200 is the result', at, response(200, {}, { status: 'running' }), 'result'],
    ['Location: 303 is a result by reference', at, response(303, { Location: '/r' }), 'result'],
    ['Location: 404 is the end', at, response(404), 'result'],
    ...[408, 425, 429, 500, 502, 503].map((status): [string, string, ResultContent, string] => [
      `${status} says nothing`,
      at,
      response(status),
      `pending ${at}`,
    ]),
    ['a document that runs', doc, response(200, {}, { status: 'Running' }), `pending ${doc}`],
    [
      'a document with a word of its own',
      doc,
      response(200, {}, { status: 'Provisioning', progress: 7 }),
      `pending ${doc} 7`,
    ],
    ['a document with nonsense for a percent', doc, response(200, {}, { status: 'x', percent: 700 }), `pending ${doc}`],
    [
      'a document that moved',
      withResult,
      response(202, { 'Operation-Location': '/ops/9' }),
      'pending document http://api.test:9001/ops/9 http://api.test:9001/results/7',
    ],
    ['a document that is the result', doc, response(200, {}, { status: 'Succeeded', answer: 42 }), 'result'],
    [
      'a document that names the result',
      doc,
      response(200, {}, { status: 'succeeded', resourceLocation: '/r/7' }),
      'elsewhere http://api.test:9001/r/7',
    ],
    [
      'a document, and the first answer named the result',
      withResult,
      response(200, {}, { status: 'Succeeded' }),
      'elsewhere http://api.test:9001/results/7',
    ],
    ['a document without a status', doc, response(200, {}, { score: 7 }), 'result'],
    ['no document', doc, response(200, {}, 'plain text'), 'result'],
    [
      'a document that failed',
      doc,
      response(200, {}, { status: 'Failed', error: { code: 'NoSuch', message: 'no such customer' } }),
      'failed NoSuch: no such customer',
    ],
    [
      'a document that failed without words',
      doc,
      response(200, {}, { status: 'canceled' }),
      'failed backend-error: the backend\'s status says "canceled"',
    ],
    [
      'a document that failed with a text',
      doc,
      response(200, {}, { status: 'failed', error: 'out of paper' }),
      'failed backend-error: out of paper',
    ],
    ['a document that is an error', doc, response(404), 'result'],
  ];
  const told = (verdict: LookVerdict): string => {
    if (verdict.kind === 'pending')
      return `pending ${verdict.poll.url}${verdict.percent === undefined ? '' : ` ${verdict.percent}`}`;
    if (verdict.kind === 'elsewhere') return `elsewhere ${verdict.url}`;
    return verdict.kind === 'failed' ? `failed ${verdict.error.code}: ${verdict.error.message}` : verdict.kind;
  };
  for (const [name, asked, answer, expected] of rows)
    test(name, () => assert.equal(told(judgeLook(answer, asked, { ...looked, url: at })), expected));

  test('a result on another origin is refused', () => {
    const answer = response(200, {}, { status: 'succeeded', resourceLocation: 'http://169.254.169.254/latest' });
    assert.throws(() => judgeLook(answer, doc, looked), /resourceLocation .* points to http:\/\/169\.254\.169\.254/);
  });
});
