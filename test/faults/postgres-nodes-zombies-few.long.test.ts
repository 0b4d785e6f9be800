// Whoever has lost a lease has no say, at whichever node he says it, and a node that was taken for dead has lost all of its own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backendFor, type BackendRequest, gate } from '../support/backend.ts';
import { get, until } from '../support/http.ts';
import { assertProblem, ended, resultOf, submit } from '../support/operations.ts';
import { reply, takeOne } from '../support/pull-worker.ts';
import { withoutFencing } from '../support/without-fencing.ts';
import { zombiesRun } from './postgres-nodes-zombies-run.ts';
import { assertCountsAreRight, onlyTheLivingAreListed, twoProcesses, withPostgres } from './postgres-nodes.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

test(
  'positive control: where nodes forget lease numbers, zombies win, and the judge finds it',
  withPostgres,
  async (t) => {
    const control = { jobs: 40, zombies: 2, callers: 4, seed, wrapEngine: withoutFencing, leaseSeconds: 1.5 };
    const { violations } = await zombiesRun(t, control);
    assert.ok(
      violations.some((one) => one.includes('although the job was somebody else')),
      violations.join('\n'),
    );
  },
);

test(
  '200 jobs, each answered by several zombies at both nodes around the end of their leases: the first 200 wins for good',
  withPostgres,
  async (t) => {
    const verdict = await zombiesRun(t, { jobs: 200, zombies: 3, callers: 8, seed });
    assert.deepEqual(verdict.violations, []);
    assert.equal(verdict.won, 200);
    // Two leases of each job end before its worker answers: three answers each.
    assert.ok(verdict.refused >= 200 * 6, `only ${verdict.refused} answers were refused`);
  },
);

test(
  'a node that was stopped past its death and goes on: its late answers change nothing, and it works again',
  withPostgres,
  async (t) => {
    const late = gate();
    const backend = await backendFor(t);
    const pair = await twoProcesses(t, {
      services: { score: { target: { url: backend.url } }, jobs: { target: { pull: true } } },
    });
    const [first, second] = pair.urls;
    const madeBy = (url: string, { headers }: BackendRequest): boolean =>
      headers['operation-reply-url']!.startsWith(url);
    backend.behave(async (request) => {
      if (madeBy(second, request)) return { body: 'from the other node' };
      await late.opened;
      return { body: 'from the node that was stopped' };
    });
    const accepted = await Promise.all(Array.from({ length: 8 }, () => submit(first, 'score')));
    const carried = (await backend.received(8)).filter((request) => madeBy(first, request));
    assert.ok(carried.length > 0, 'the node that is stopped carries something');
    const pulled = await submit(first, 'jobs');
    const zombie = await takeOne(first, 'jobs', { leaseSeconds: 1 });

    pair.freeze(0);
    const worker = await takeOne(second, 'jobs', { leaseSeconds: 60 });
    assert.equal(worker.operation.id, zombie.operation.id, 'its lease has run out meanwhile');
    // It lies in the stopped node's socket.
    const zombieReply = reply(first, zombie.token, 'from the zombie');
    assert.equal((await reply(second, worker.token, 'from the worker')).status, 200);
    for (const { id } of accepted) assert.equal((await ended(`${second}/v1/operations/${id}`)).status, 'succeeded');
    late.open();
    await until(() => (backend.answered === backend.requests.length ? true : undefined));
    pair.thaw(0);

    assertProblem(await zombieReply, 409, 'lease-lost');
    // It has tried to record every late answer.
    await until(async () => {
      const { text } = await get(`${first}/metrics`);
      const refused = Number(
        /^waitless_settlements_total\{[^}]*outcome="refused"[^}]*\} (\d+)$/m.exec(text)?.[1] ?? Number.NaN,
      );
      return refused >= carried.length + 1 ? true : undefined;
    });
    for (const url of pair.urls) {
      for (const { id } of accepted)
        assert.equal((await get(`${url}/v1/operations/${id}/result`)).text, 'from the other node');
      assert.equal((await get(`${url}/v1/operations/${pulled.id}/result`)).text, 'from the worker');
    }
    backend.behave(() => ({ body: 'as before' }));
    await until(async () => {
      const { id, result } = await submit(first, 'score');
      assert.equal((await resultOf(result)).text, 'as before');
      const made = backend.requests.find(({ headers }) => headers['operation-id'] === id)!;
      return madeBy(first, made) ? true : undefined;
    });
    await assertCountsAreRight(pair.urls);
    await onlyTheLivingAreListed(pair.store, 2);
  },
);
