// Work of both kinds, pushed and pulled, while nodes are killed: every accepted operation comes to its end, and the timelines tell of every execution.
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { LeaseResponse, Operation, Page, TimelineEntry } from '@waitless/protocol';
import { backendFor } from '../support/backend.ts';
import { get, post, until } from '../support/http.ts';
import { randomOf } from './kill-run.ts';
import {
  assertCountsAreRight,
  everyOperation,
  onlyTheLivingAreListed,
  type ProcessPair,
  twoProcesses,
} from './postgres-nodes.ts';

export interface WorkRun {
  /** Of one node at a time, started again at once. */
  kills: number;
  /** Of both nodes at the same moment. */
  doubleKills: number;
  /** Workers that take work and go away with it. */
  deadWorkers: number;
  /** Accepted between two faults. */
  perFault: number;
  seed: number;
  /** The positive control: what the tester noted is made wrong before the judgement. */
  doctored?: boolean;
}

export interface WorkVerdict {
  accepted: number;
  /** Accepted, and in no list after the faults. */
  lost: string[];
  /** Not succeeded, or with another result than its own. */
  wrong: string[];
  /** Executed more often than the timeline tells. */
  untold: string[];
  executions: number;
}

const concurrency = 8;

export async function workRun(t: TestContext, run: WorkRun): Promise<WorkVerdict> {
  const { kills, doubleKills, deadWorkers, perFault, seed, doctored = false } = run;
  t.diagnostic(`seed ${seed}`);
  const random = randomOf(seed);
  const executions = new Map<string, number>();
  const executed = (id: string): void => void executions.set(id, (executions.get(id) ?? 0) + 1);
  const backend = await backendFor(t, async ({ headers, body }) => {
    executed(headers['operation-id']!);
    await pause(random() * 40);
    return { body: `done ${body.toString()}` };
  });
  const retry = { maxAttempts: 100, initialDelay: '1ms', maxDelay: '5ms' };
  const pair = await twoProcesses(t, {
    services: {
      score: { target: { url: backend.url }, concurrency, retry },
      jobs: { target: { pull: true }, lease: '2s', retry },
    },
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const over = new AbortController();
  const workers = Array.from({ length: 4 }, (_, w) =>
    worker(pair, { name: `w${w}`, agent, over: over.signal, executed, random }),
  );

  const accepted = new Map<string, string>();
  async function submitSome(from: number): Promise<void> {
    let next = from;
    const call = async (): Promise<void> => {
      for (let at = next++; at < from + perFault; at = next++) {
        const service = at % 2 === 0 ? 'score' : 'jobs';
        const answer = await post(`${pair.urls[at % 4 < 2 ? 0 : 1]}/v1/call/${service}`, {
          body: `${at}`,
          agent,
        }).catch(() => undefined);
        if (answer?.status === 202) accepted.set(answer.headers['operation-id']!, `done ${at}`);
        else await pause(20);
      }
    };
    await Promise.all(Array.from({ length: 8 }, call));
  }

  const faults = shuffled(
    [
      ...Array<'one'>(kills).fill('one'),
      ...Array<'both'>(doubleKills).fill('both'),
      ...Array<'worker'>(deadWorkers).fill('worker'),
    ],
    random,
  );
  for (const [index, fault] of faults.entries()) {
    const load = submitSome(index * perFault);
    await pause(random() * 300);
    if (fault === 'worker') await takeAndGo(pair.urls[index % 2]!, executed);
    else {
      const victims = fault === 'both' ? [0, 1] : [index % 2];
      await Promise.all(victims.map((victim) => pair.end(victim, 'SIGKILL')));
      await Promise.all(victims.map((victim) => pair.start(victim)));
    }
    await load;
  }

  const healedAt = performance.now();
  await until(async () => {
    const { items } = (await get(`${pair.urls[0]}/v1/operations?status=queued,running&limit=1`, { agent })).json<
      Page<Operation>
    >();
    return items.length === 0 ? true : undefined;
  });
  over.abort();
  await Promise.all(workers);
  t.diagnostic(`everything had ended ${Math.round(performance.now() - healedAt)} ms after the last fault`);
  if (doctored) {
    const [first, second] = [...accepted.keys()];
    accepted.set('never-accepted', 'done 0').set(first!, 'done by somebody else');
    executed(second!);
  }
  const verdict = await judge(pair, { accepted, executions, agent });
  agent.destroy();
  await assertCountsAreRight(pair.urls);
  await onlyTheLivingAreListed(pair.store, 2);
  t.diagnostic(`${faults.length} faults, ${verdict.accepted} accepted, ${verdict.executions} executions`);
  return verdict;
}

/** Any order is as likely as any other. */
function shuffled<T>(list: readonly T[], random: () => number): T[] {
  return list
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

interface WorkerSettings {
  name: string;
  agent: Agent;
  over: AbortSignal;
  executed: (id: string) => void;
  random: () => number;
}

/** Takes from one node and answers the other, in turns; an answer that may not have arrived is given again. */
async function worker(pair: ProcessPair, { name, agent, over, executed, random }: WorkerSettings): Promise<void> {
  for (let turn = 0; !over.aborted; turn++) {
    const [taking, answering] = turn % 2 === 0 ? pair.urls : [pair.urls[1], pair.urls[0]];
    const leased = await post(`${taking}/v1/services/jobs/leases`, {
      body: { worker: name, max: 4, waitSeconds: 1 },
      agent,
    }).catch(() => undefined);
    if (leased?.status !== 200) {
      await pause(20);
      continue;
    }
    for (const { token, operation, request } of leased.json<LeaseResponse>().leases) {
      executed(operation.id);
      await pause(random() * 10);
      for (let tries = 0; ; tries++) {
        const url = `${tries % 2 === 0 ? answering : taking}/v1/leases/${token}/reply`;
        const answer = await post(url, { body: `done ${request.body}`, agent }).catch(() => undefined);
        // 409: it took too long, through a restart, and the work is somebody else's.
        if (answer?.status === 200 || answer?.status === 409) break;
        await pause(20);
      }
    }
  }
}

/** A worker that dies with what it has taken. */
async function takeAndGo(url: string, executed: (id: string) => void): Promise<void> {
  const answer = await post(`${url}/v1/services/jobs/leases`, { body: { worker: 'dead', max: 4, waitSeconds: 1 } });
  assert.equal(answer.status, 200);
  for (const { operation } of answer.json<LeaseResponse>().leases) executed(operation.id);
}

async function judge(
  pair: ProcessPair,
  seen: { accepted: ReadonlyMap<string, string>; executions: ReadonlyMap<string, number>; agent: Agent },
): Promise<WorkVerdict> {
  const { accepted, executions, agent } = seen;
  const listed = await everyOperation(pair.urls[1]);
  const verdict: WorkVerdict = { accepted: accepted.size, lost: [], wrong: [], untold: [], executions: 0 };
  const ids = new Set(listed.map(({ id }) => id));
  for (const id of accepted.keys()) if (!ids.has(id)) verdict.lost.push(id);
  let next = 0;
  const look = async (): Promise<void> => {
    for (let at = next++; at < listed.length; at = next++) {
      const { id, status } = listed[at]!;
      const base = `${pair.urls[at % 2]}/v1/operations/${id}`;
      const { text } = await get(`${base}/result`, { agent });
      const expected = accepted.get(id);
      if (status !== 'succeeded' || (expected === undefined ? !/^done \d+$/.test(text) : text !== expected))
        verdict.wrong.push(id);
      const { items } = (await get(`${base}/timeline`, { agent })).json<Page<TimelineEntry>>();
      const told = items.filter(({ type }) => type === 'attempt').length;
      const done = executions.get(id) ?? 0;
      verdict.executions += done;
      if (told < done) verdict.untold.push(`${id}: ${done} executions, ${told} told`);
    }
  };
  await Promise.all(Array.from({ length: 16 }, look));
  return verdict;
}
