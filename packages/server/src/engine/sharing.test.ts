// The order of decisions about a shared result, as a table.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Sharing } from './engine.ts';
import { judgeShare, type ShareState } from './sharing.ts';

const now = 100_000;
const sharing: Sharing = { identity: 'i', share: 's', use: 'stored', maxAgeMs: null, onlyStored: false };
const fresh = { storedAt: now - 1000, freshUntil: now + 1000, staleUntil: now + 1000 };
const stale = { storedAt: now - 1000, freshUntil: now - 500, staleUntil: now + 500 };
const gone = { storedAt: now - 1000, freshUntil: now, staleUntil: now };
const findable = { storedAt: now - 1000, freshUntil: null, staleUntil: null };
const running = { untouched: false };
const untouched = { untouched: true };

const rows: [name: string, wanted: Partial<Sharing>, state: ShareState, verdict: string][] = [
  ['nothing is there', {}, { running: null, stored: null }, 'make'],
  ['a fresh result', {}, { running: null, stored: fresh }, 'serve'],
  ['a fresh result goes before a running twin', {}, { running, stored: fresh }, 'serve'],
  ['a result at the end of its validity', {}, { running: null, stored: gone }, 'make expired'],
  ['a result at the end of its validity and a running twin', {}, { running, stored: gone }, 'join'],
  ['a stale one answers and is refreshed', {}, { running: null, stored: stale }, 'refresh'],
  ['a stale one answers while the refresh runs', {}, { running, stored: stale }, 'serve'],
  ['a stale one whose twin waits for a chosen time', {}, { running: untouched, stored: stale }, 'refresh'],
  ['a result without validity answers nobody', {}, { running: null, stored: findable }, 'make'],
  ['a running twin', {}, { running, stored: null }, 'join'],
  ['a twin that waits for a time its client chose', {}, { running: untouched, stored: null }, 'make'],
  ['young enough', { maxAgeMs: 1000 }, { running: null, stored: fresh }, 'serve'],
  ['too old for the caller', { maxAgeMs: 999 }, { running: null, stored: fresh }, 'make expired'],
  ['too old for the caller, and a twin runs', { maxAgeMs: 999 }, { running, stored: fresh }, 'join'],
  ['stale and too old for the caller', { maxAgeMs: 999 }, { running: null, stored: stale }, 'make expired'],
  ['anew', { use: 'running' }, { running: null, stored: fresh }, 'make'],
  ['anew, and a twin runs', { use: 'running' }, { running, stored: fresh }, 'join'],
  ['work of its own', { use: 'nothing' }, { running, stored: fresh }, 'make'],
  ['only stored, and it is', { onlyStored: true }, { running: null, stored: fresh }, 'serve'],
  ['only stored, and it is stale: nothing is begun', { onlyStored: true }, { running: null, stored: stale }, 'serve'],
  ['only stored, and it is not', { onlyStored: true }, { running, stored: gone }, 'not-stored'],
];

describe('a submit that shares its result', () => {
  for (const [name, wanted, state, expected] of rows) {
    test(name, () => {
      const verdict = judgeShare({ ...sharing, ...wanted }, state, now);
      assert.equal(verdict.kind === 'make' && verdict.expired ? 'make expired' : verdict.kind, expected);
    });
    test(`${name}, and no work may be made`, () => {
      const { kind } = judgeShare({ ...sharing, ...wanted }, state, now, { mayMake: false });
      const instead: Record<string, string> = { make: 'full', 'make expired': 'full', refresh: 'serve' };
      assert.equal(kind, instead[expected] ?? expected);
    });
  }
});
