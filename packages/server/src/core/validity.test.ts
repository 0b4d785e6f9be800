// How long results are kept, as a table of what services and backends say.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Keep } from '../engine/engine.ts';
import { cacheDirectives, keepOf } from './validity.ts';

const day = 86_400_000;

describe('what is kept, and for how long', () => {
  const minute = { validForMs: 60_000, staleMs: 10_000 };
  const none = { validForMs: undefined, staleMs: 10_000 };
  const cc = (...values: string[]): string[] => values.flatMap((value) => ['Cache-Control', value]);
  const kept = (seconds: number, stale: number): Keep => ({ freshMs: seconds * 1000, staleMs: stale * 1000 });
  const table: [what: string, service: typeof minute | typeof none, headers: string[], keep: Keep | null, status?: number][] = [
    ["the service's time", minute, [], kept(60, 10)],
    ['no time', none, [], kept(0, 0)],
    ['max-age instead', minute, cc('max-age=5'), kept(5, 10)],
    ['max-age alone', none, cc('public, max-age=5'), kept(5, 10)],
    ['more than the service says', minute, cc('max-age=600'), kept(600, 10)],
    ['max-age=0', minute, cc('max-age=0'), kept(0, 0)],
    ['s-maxage first', minute, cc('max-age=5, s-maxage=7'), kept(7, 10)],
    ['s-maxage first, the other way round', minute, cc('s-maxage=7, max-age=5'), kept(7, 10)],
    ['no-store', minute, cc('no-store'), null],
    ['no-store among others', minute, cc('max-age=5', 'NO-STORE'), null],
    ['no-cache', minute, cc('no-cache'), kept(0, 0)],
    ['no-cache and max-age', minute, cc('max-age=5, no-cache'), kept(0, 0)],
    ['no-cache for some fields', minute, cc('no-cache="Set-Cookie, X-No-Store"'), kept(0, 0)],
    ['private', minute, cc('private'), kept(60, 10)],
    ['stale-while-revalidate instead', minute, cc('stale-while-revalidate=3'), kept(60, 3)],
    ['stale-while-revalidate and max-age', none, cc('max-age=5, stale-while-revalidate=30'), kept(5, 30)],
    ['stale-while-revalidate without validity', none, cc('stale-while-revalidate=30'), kept(0, 0)],
    ['must-revalidate', minute, cc('must-revalidate'), kept(60, 0)],
    ['proxy-revalidate', minute, cc('proxy-revalidate, stale-while-revalidate=30'), kept(60, 0)],
    ['age', minute, [...cc('max-age=5'), 'Age', '2'], kept(3, 10)],
    ['age beyond', minute, [...cc('max-age=5'), 'age', '7'], kept(0, 0)],
    ["age does not touch the service's own time", minute, ['Age', '7'], kept(60, 10)],
    ['age of no number', minute, [...cc('max-age=5'), 'Age', 'x'], kept(5, 10)],
    ['age below zero', minute, [...cc('max-age=5'), 'Age', '-7'], kept(5, 10)],
    ['quoted', minute, cc('max-age="5"'), kept(5, 10)],
    ['in capitals', minute, cc('Max-Age=5'), kept(5, 10)],
    ['no number', minute, cc('max-age=five'), kept(60, 10)],
    ['negative', minute, cc('max-age=-1'), kept(60, 10)],
    ['fraction', minute, cc('max-age=1.5'), kept(60, 10)],
    ['nothing', minute, cc('max-age='), kept(60, 10)],
    ['bare', minute, cc('max-age'), kept(60, 10)],
    ['spaces', minute, cc('max-age = 5'), kept(60, 10)],
    ['no number first', minute, cc('max-age=x, max-age=5'), kept(5, 10)],
    ['a quote that never ends', minute, cc('x="no-store, max-age=5'), kept(60, 10)],
    ['a quoted comma', minute, cc('x="a, no-store", max-age=5'), kept(5, 10)],
    ['a quoted quote', minute, cc('x="a\\", no-store", max-age=5'), kept(5, 10)],
    ['rubbish', minute, cc(',,=,;=;"', 'max-age=5'), kept(60, 10)],
    ['for ever', minute, cc(`max-age=${'9'.repeat(400)}, stale-while-revalidate=99999999999999999999`), { freshMs: 365 * day, staleMs: 365 * day }],
    ['another header', minute, ['X-Cache-Control', 'no-store', 'Expires', '0', 'Pragma', 'no-cache'], kept(60, 10)],
    ['204', minute, [], kept(60, 10), 204],
    ['303', minute, [], null, 303],
    ['404', minute, cc('max-age=5'), null, 404],
    ['500', minute, [], null, 500],
  ]; // prettier-ignore
  for (const [what, service, responseHeaders, keep, status = 200] of table)
    test(what, () => assert.deepEqual(keepOf({ ...service, responseHeaders, status }), keep));
  test('a service that says for ever', () =>
    assert.deepEqual(keepOf({ validForMs: 1e15, staleMs: 1e15, responseHeaders: [], status: 200 }), {
      freshMs: 365 * day,
      staleMs: 365 * day,
    }));
});

test('directives', () => {
  assert.deepEqual(cacheDirectives('No-Cache, max-age=5 ,x="a,b",,y='), [
    ['no-cache', null],
    ['max-age', '5'],
    ['x', 'a,b'],
    ['y', ''],
  ]);
  assert.deepEqual(cacheDirectives(''), []);
});
