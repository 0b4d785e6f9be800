// Jobs that several workers answer with different bytes around the end of their leases, each time at any node: who may win, and what the judge says.
import { Agent } from 'node:http';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Lease, Operation, Page } from '@waitless/protocol';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { get } from '../support/http.ts';
import { submit } from '../support/operations.ts';
import { leaseCall, reply } from '../support/pull-worker.ts';
import { randomOf } from './kill-run.ts';
import { assertCountsAreRight, twoServers } from './postgres-nodes.ts';

export interface ZombiesRun {
  jobs: number;
  /** Answers with other bytes that each job gets at least. */
  zombies: number;
  callers: number;
  seed: number;
  /** The positive control: the engines are made other ones, and leases so long that a zombie meets the next holder's. */
  wrapEngine?: (engine: Engine) => Engine;
  leaseSeconds?: number;
}

export interface ZombiesVerdict {
  /** Answers that were taken: one for each job. */
  won: number;
  /** Answers under a lease that somebody else had held or won before. */
  refused: number;
  /** What must not be, in words. */
  violations: string[];
}

interface Answered {
  bytes: string;
  status: number;
  /** Another lease of this job had been handed out before this answer was given. */
  superseded: boolean;
}

interface Job {
  id: string;
  /** Leases handed out so far. */
  leases: number;
  answers: Answered[];
  /** Every look at its result after the first 200. */
  seen: Set<string>;
}

export async function zombiesRun(t: TestContext, run: ZombiesRun): Promise<ZombiesVerdict> {
  const { jobs: count, zombies, callers, seed, wrapEngine, leaseSeconds = 0.4 } = run;
  t.diagnostic(`seed ${seed}`);
  const random = randomOf(seed);
  const services = { jobs: { target: { pull: true }, retry: { maxAttempts: 100 } } };
  const pair = await twoServers(t, {
    services,
    ...(wrapEngine ? { wrapEngine } : {}),
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 128 });
  const anyUrl = (): string => pair.urls[random() < 0.5 ? 0 : 1];
  const jobs = new Map<string, Job>();
  let next = 0;
  const submitAll = async (): Promise<void> => {
    for (let at = next++; at < count; at = next++) {
      const { id } = await submit(anyUrl(), 'jobs', { body: `job ${at}`, agent });
      jobs.set(id, { id, leases: 0, answers: [], seen: new Set() });
    }
  };
  await Promise.all(Array.from({ length: 16 }, submitAll));

  async function look(job: Job): Promise<void> {
    const { status, text } = await get(`${anyUrl()}/v1/operations/${job.id}/result`, { agent });
    job.seen.add(status === 200 ? text : `status ${status}`);
  }

  async function answer(
    job: Job,
    { token, bytes, number }: { token: string; bytes: string; number: number },
  ): Promise<void> {
    const superseded = job.leases > number;
    const { status } = await reply(anyUrl(), token, bytes);
    job.answers.push({ bytes, status, superseded });
    if (job.answers.some((one) => one.status === 200)) await look(job);
  }

  /** Holds a job to about the end of its lease, and answers; says so again later, when others have had it. */
  async function hold({ token, operation }: Lease): Promise<void> {
    const job = jobs.get(operation.id)!;
    const number = ++job.leases;
    const bytes = `${operation.id} by lease ${number}`;
    // The first ones come too late, the others somewhere around the end, and in the end at once, or a slow machine would never be done.
    const share = number < zombies ? 1 : number < 3 * zombies ? 0.5 + random() * 0.6 : 0;
    await pause(leaseSeconds * 1000 * share);
    await answer(job, { token, bytes, number });
    await pause(random() * 500);
    await answer(job, { token, bytes, number });
    await answer(job, { token, bytes: `${bytes}, changed`, number });
  }

  let open = count;
  const take = async (): Promise<void> => {
    while (open > 0) {
      const { leases } = await leaseCall(anyUrl(), 'jobs', { max: 10, waitSeconds: 1, leaseSeconds, agent });
      await Promise.all(leases.map(hold));
      const { items } = (await get(`${anyUrl()}/v1/operations?status=queued,running&limit=1`, { agent })).json<
        Page<Operation>
      >();
      open = items.length;
    }
  };
  await Promise.all(Array.from({ length: callers }, take));

  const verdict = judge([...jobs.values()]);
  for (const job of jobs.values()) await look(job);
  for (const { id, seen } of jobs.values())
    if (seen.size !== 1) verdict.violations.push(`${id} showed ${[...seen].join(' and ')}`);
  agent.destroy();
  await assertCountsAreRight(pair.urls);
  t.diagnostic(
    `${count} jobs, ${[...jobs.values()].reduce((sum, job) => sum + job.leases, 0)} leases, ${verdict.refused} answers refused`,
  );
  return verdict;
}

function judge(jobs: readonly Job[]): ZombiesVerdict {
  const verdict: ZombiesVerdict = { won: 0, refused: 0, violations: [] };
  for (const { id, answers, seen } of jobs) {
    const taken = new Set(answers.filter(({ status }) => status === 200).map(({ bytes }) => bytes));
    if (taken.size === 1) verdict.won++;
    else verdict.violations.push(`${taken.size} answers of ${id} were taken`);
    for (const { bytes, status, superseded } of answers) {
      if (status === 409) verdict.refused++;
      else if (status !== 200) verdict.violations.push(`an answer of ${id} got ${status}`);
      else if (superseded) verdict.violations.push(`${bytes}: taken although the job was somebody else's`);
    }
    for (const bytes of seen) if (!taken.has(bytes)) verdict.violations.push(`the result of ${id} is ${bytes}`);
  }
  return verdict;
}
