// Parts start in their order and stop in the opposite one, and a start that fails leaves nothing running.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Service, startAll, stopAll } from './service.ts';

function partsOn(told: string[], broken?: string): Service[] {
  return ['store', 'sweep', 'listener'].map((name) => ({
    name,
    async start() {
      if (name === broken) throw new Error(`${name} cannot start`);
      told.push(`start ${name}`);
    },
    async stop() {
      told.push(`stop ${name}`);
    },
  }));
}

test('parts start in order and stop in the opposite one', async () => {
  const told: string[] = [];
  const parts = partsOn(told);
  await startAll(parts);
  await stopAll(parts);
  assert.equal(told.join(', '), 'start store, start sweep, start listener, stop listener, stop sweep, stop store');
});

test('where one cannot start those before it are stopped again, and its error is told', async () => {
  const told: string[] = [];
  await assert.rejects(startAll(partsOn(told, 'listener')), /listener cannot start/);
  assert.deepEqual(told, ['start store', 'start sweep', 'stop sweep', 'stop store']);
});
