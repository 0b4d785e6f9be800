// The judge itself: a checker that finds no fault in a doctored run would find none in a real one.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { classify, Ledger, type LedgerLine, type Outcome, type Seen, whyVoid } from '../support/ledger.ts';
import { temporaryFolder } from '../support/server.ts';
import { outcomeOf } from '../support/submit-load.ts';

const line = (key: string, outcome: Outcome): [string, LedgerLine] => [
  key,
  { t: 1, op: 'submit', key, bodySha: `sha of ${key}`, outcome, ...(outcome === 'ok' ? { id: `id of ${key}` } : {}) },
];
const seen = (key: string, more: Partial<Seen> = {}): Seen => ({
  key,
  id: `id of ${key}`,
  bodySha: `sha of ${key}`,
  resultShas: ['r', 'r'],
  pending: false,
  ...more,
});

test('the checker finds what is lost, unexpected, duplicated and changed, and lets pass what is legal', () => {
  const told = new Map([
    line('kept', 'ok'),
    line('lost', 'ok'),
    line('refused', 'fail'),
    line('appeared', 'fail'),
    line('gone', 'info'),
    line('came', 'info'),
    line('twice', 'ok'),
    line('changed', 'ok'),
    line('renamed', 'ok'),
    line('two results', 'ok'),
  ]);
  const verdict = classify(told, [
    seen('kept'),
    seen('appeared'),
    seen('came'),
    seen('never sent'),
    seen('twice'),
    seen('twice', { id: 'another id' }),
    seen('changed', { bodySha: 'another sha' }),
    seen('renamed', { id: 'another id' }),
    seen('two results', { resultShas: ['r', 's'] }),
  ]);

  assert.deepEqual(verdict.lost, ['lost']);
  assert.deepEqual(verdict.recovered, ['came']);
  assert.deepEqual(verdict.unexpected, ['appeared', 'never sent']);
  assert.deepEqual(verdict.duplicated, ['twice']);
  assert.deepEqual(verdict.duplicatedResult, ['two results']);
  assert.deepEqual(verdict.wrong, ['twice', 'changed', 'renamed']);
  assert.deepEqual([verdict.ok, verdict.fail, verdict.info], [6, 2, 2]);
});

test('a repeat that is acknowledged settles what was unknown, and the ledger is on the disk line by line', async (t) => {
  const path = join(await temporaryFolder(t), 'ledger');
  const ledger = new Ledger(path);
  const add = (key: string, outcome: Outcome): void => ledger.add({ op: 'submit', key, bodySha: 's', outcome });
  add('a', 'info');
  add('a', 'ok');
  add('a', 'info');
  add('b', 'fail');
  add('b', 'info');
  ledger.add({ op: 'reply', key: 'b', bodySha: 's', outcome: 'ok' });

  const last = ledger.last('submit');
  assert.deepEqual([last.get('a')!.outcome, last.get('b')!.outcome, last.size], ['ok', 'info', 2]);
  assert.deepEqual(Ledger.read(path), ledger.lines);
});

test('a run without progress is void', () => {
  const lines = (from: number, count: number, outcome: Outcome): LedgerLine[] =>
    Array.from({ length: count }, (_, index) => ({
      t: from + index,
      op: 'submit',
      key: String(index),
      bodySha: '',
      outcome,
    }));

  assert.equal(whyVoid([...lines(0, 60, 'ok'), ...lines(100, 60, 'ok')], [99, 200]), undefined);
  assert.match(whyVoid([...lines(0, 60, 'ok'), ...lines(100, 40, 'ok')], [99, 200])!, /40 acknowledged before fault 2/);
  assert.match(whyVoid([...lines(0, 60, 'ok'), ...lines(60, 10, 'info')], [65])!, /10 of 70/);
});

test('only what is certain counts as refused', () => {
  const refused = '{"accepted":false}';
  for (const [status, text, outcome] of [
    [202, '', 'ok'],
    [200, '', 'ok'],
    [404, '', 'fail'],
    [422, '', 'fail'],
    [429, '', 'fail'],
    [507, '', 'fail'],
    [503, refused, 'fail'],
    [503, '', 'info'],
    [500, '', 'info'],
    [502, '', 'info'],
    [504, '', 'info'],
  ] as const)
    assert.equal(outcomeOf(status, text), outcome, String(status));
});
