// The words both ends speak, as tables.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import {
  errorTable,
  formatDuration,
  isName,
  isReplayable,
  parseDuration,
  parsePrefer,
  routePath,
  routes,
  schemas,
  WaitlessError,
} from './index.ts';

test('durations are read exactly or not at all', () => {
  const table: [string, number | undefined][] = [
    ['250ms', 250],
    ['30s', 30_000],
    ['1.5s', 1500],
    ['10m', 600_000],
    ['2h', 7_200_000],
    ['7d', 604_800_000],
    ['0s', 0],
    ['30', undefined],
    ['-1s', undefined],
    ['1e9s', undefined],
    ['NaN', undefined],
    ['9999999d', undefined],
    ['', undefined],
    ['1 s', undefined],
    ['1S', undefined],
  ];
  for (const [text, ms] of table) assert.equal(parseDuration(text), ms, text);
  for (const ms of [1, 250, 1000, 90_000, 120_000, 7_200_000, 604_800_000])
    assert.equal(parseDuration(formatDuration(ms)), ms);
});

test('Prefer: what is not understood is ignored', () => {
  const table: [string | undefined, boolean, number | undefined][] = [
    [undefined, false, undefined],
    ['respond-async', true, undefined],
    ['wait=10', false, 10],
    ['respond-async, wait=10', true, 10],
    ['Wait = "7"', false, 7],
    ['wait=10; x=y, foo', false, 10],
    ['wait=-1', false, undefined],
    ['wait=1.5', false, undefined],
    ['wait=', false, undefined],
    ['wait=5, wait=9', false, 5],
    ['wait=999999', false, 999_999],
    ['return=minimal', false, undefined],
  ];
  for (const [text, respondAsync, waitSeconds] of table)
    assert.deepEqual(parsePrefer(text), { respondAsync, waitSeconds }, String(text));
});

test('names are plain', () => {
  for (const name of ['a', 'A-1_b', 'x'.repeat(128)]) assert.ok(isName(name), name);
  for (const name of ['', '.', '-a', 'a.b', 'a/b', 'a b', 'x'.repeat(129), 'é', 'a\0', '../x', '$SYS'])
    assert.ok(!isName(name), name);
});

test('what would act on our origin is not replayed', () => {
  for (const name of [
    'set-cookie',
    'access-control-allow-origin',
    'strict-transport-security',
    'retry-after',
    'cache-control',
    'operation-id',
    'transfer-encoding',
  ])
    assert.ok(!isReplayable(name), name);
  for (const name of ['content-type', 'content-encoding', 'x-anything', 'link', 'location'])
    assert.ok(isReplayable(name), name);
});

test('every error has a status, a title and help, and an Error of it carries them', () => {
  for (const [code, entry] of Object.entries(errorTable)) {
    assert.match(code, /^[a-z]+(-[a-z]+)*$/);
    assert.ok(entry.status >= 400 && entry.status < 600 && entry.title.length > 5 && entry.help.length > 10, code);
    assert.equal(new WaitlessError(code).status, entry.status);
  }
});

test('paths of routes carry their parameters encoded', () => {
  assert.equal(routePath('getResult', { id: 'a/b' }), '/v1/operations/a%2Fb/result');
});

test('every area of the routes and of the schemas is in its table, and none takes a name of another', async () => {
  for (const [folder, table] of Object.entries({ routes, schemas })) {
    const areas = readdirSync(new URL(folder, import.meta.url)).filter((file) => file !== 'shared.ts');
    const names: string[] = [];
    for (const area of areas) {
      const tables = (await import(`./${folder}/${area}`)) as Record<string, object>;
      names.push(...Object.values(tables).flatMap((part) => Object.keys(part)));
    }
    assert.ok(areas.length > 5);
    assert.deepEqual(names.sort(), Object.keys(table).sort(), folder);
  }
});
