// Nodes that die with work in their hands: the others take it up, without anybody's help, and nothing is done that the timelines do not tell.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TimelineEntry } from '@waitless/protocol';
import { backendFor, gate } from '../support/backend.ts';
import { get } from '../support/http.ts';
import { ended, submit } from '../support/operations.ts';
import { workRun } from './postgres-nodes-work-run.ts';
import { assertCountsAreRight, onlyTheLivingAreListed, twoProcesses, withPostgres } from './postgres-nodes.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);
const concurrency = 8;

test(
  'what a dead node carried is carried by the other one, which nobody had to tell, and no attempt is used up',
  withPostgres,
  async (t) => {
    const opened = gate();
    const backend = await backendFor(t, async ({ body }, number) => {
      if (number <= 2 * concurrency) await opened.opened;
      return { body: `done ${body.toString()}` };
    });
    const pair = await twoProcesses(t, { services: { score: { target: { url: backend.url }, concurrency } } });
    const [living, dying] = pair.urls;
    const accepted = await Promise.all(
      Array.from({ length: 60 }, (_, index) => submit(pair.urls[index % 2]!, 'score', { body: `job ${index}` })),
    );
    const first = await backend.received(2 * concurrency);
    const carriedBy = (url: string): string[] =>
      first
        .filter(({ headers }) => headers['operation-reply-url']!.startsWith(url))
        .map(({ headers }) => headers['operation-id']!);
    const lost = carriedBy(dying);
    assert.deepEqual(
      [carriedBy(living).length, lost.length],
      [concurrency, concurrency],
      'both nodes carry what they may',
    );

    await pair.end(1, 'SIGKILL');
    const diedAt = performance.now();
    opened.open();

    let slowest = 0;
    await Promise.all(
      accepted.map(async ({ id }, index) => {
        const url = `${living}/v1/operations/${id}`;
        const { status, attempt } = await ended(url);
        slowest = Math.max(slowest, performance.now() - diedAt);
        assert.deepEqual([status, attempt], ['succeeded', 1]);
        assert.equal((await get(`${url}/result`)).text, `done job ${index}`);
        const { items } = (await get(`${url}/timeline`)).json<{ items: TimelineEntry[] }>();
        const outcomes = items.filter(({ type }) => type === 'attempt').map((entry) => entry.outcome);
        assert.deepEqual(outcomes, lost.includes(id) ? ['interrupted', 'succeeded'] : ['succeeded']);
      }),
    );
    t.diagnostic(`everything had ended ${Math.round(slowest)} ms after the kill`);
    const again = backend.requests.filter(({ headers }) => lost.includes(headers['operation-id']!));
    assert.equal(again.length, 2 * concurrency, 'each of them was executed twice, nothing else was');
    assert.equal(backend.requests.length, 60 + concurrency);
    await assertCountsAreRight([living]);
    await onlyTheLivingAreListed(pair.store, 1);
  },
);

test(
  'positive control: a loss, a changed result and an execution that nobody tells of are found',
  withPostgres,
  async (t) => {
    const verdict = await workRun(t, { kills: 0, doubleKills: 0, deadWorkers: 1, perFault: 20, seed, doctored: true });
    assert.deepEqual([verdict.lost, verdict.wrong.length, verdict.untold.length], [['never-accepted'], 1, 1]);
  },
);

test(
  'under kills of nodes and workers everything accepted succeeds, pushed and pulled, and each execution is told',
  withPostgres,
  async (t) => {
    const verdict = await workRun(t, { kills: 3, doubleKills: 1, deadWorkers: 2, perFault: 100, seed });
    assert.ok(verdict.accepted >= 300, 'void: too little was accepted');
    assert.deepEqual([verdict.lost, verdict.wrong, verdict.untold], [[], [], []]);
  },
);
