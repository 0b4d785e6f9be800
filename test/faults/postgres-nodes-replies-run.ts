// Answers that come twice, late, out of order, with other bytes or from strangers, each at any node: what they change is nothing.
import { Agent } from 'node:http';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { backendFor } from '../support/backend.ts';
import { get, post, until } from '../support/http.ts';
import { ended, submit } from '../support/operations.ts';
import { leaseCall } from '../support/pull-worker.ts';
import { randomOf } from './kill-run.ts';
import { twoServers } from './postgres-nodes.ts';

export interface RepliesRun {
  operations: number;
  seed: number;
  /** The positive control: makes the engine of one node another one. */
  wrapEngine?: (engine: Engine) => Engine;
}

export interface RepliesVerdict {
  violations: string[];
  /** Of all answers to replies, by status. */
  statuses: Record<number, number>;
}

interface Answered {
  bytes: string;
  status: number;
  code: unknown;
}

export async function repliesRun(
  t: TestContext,
  { operations: count, seed, wrapEngine }: RepliesRun,
): Promise<RepliesVerdict> {
  t.diagnostic(`seed ${seed}`);
  const random = randomOf(seed);
  const backend = await backendFor(t);
  const retry = { maxAttempts: 1 };
  const pair = await twoServers(t, {
    services: { later: { target: { url: backend.url }, retry }, jobs: { target: { pull: true }, lease: '60s', retry } },
    namespaces: ['one', 'two'],
    ...(wrapEngine
      ? { wrapEngine: (engine: Engine, index: number) => (index === 0 ? wrapEngine(engine) : engine) }
      : {}),
  });
  const [key, stranger] = [pair.key('one'), pair.key('two')];
  const agent = new Agent({ keepAlive: true, maxSockets: 128 });
  const anyUrl = (): string => pair.urls[random() < 0.5 ? 0 : 1];
  const violations: string[] = [];
  const statuses: Record<number, number> = {};
  const answered = new Map<string, Answered[]>();

  async function say(token: string, bytes: string, withKey?: string): Promise<Answered> {
    const sent = { body: bytes, agent, ...(withKey === undefined ? {} : { key: withKey }) };
    const answer = await post(`${anyUrl()}/v1/leases/${token}/reply`, sent);
    statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
    return { bytes, status: answer.status, code: answer.status === 200 ? undefined : answer.json()['code'] };
  }

  /** The reply of an operation and, for a tenth each, the same again, another one, and what strangers try; in any order. */
  async function sayAll(id: string, token: string): Promise<void> {
    const own = `the answer of ${id}`;
    const plan: { bytes: string; delayMs: number }[] = [{ bytes: own, delayMs: random() < 0.1 ? random() * 60 : 0 }];
    if (random() < 0.1) plan.push({ bytes: own, delayMs: random() * 60 });
    if (random() < 0.1) plan.push({ bytes: `another answer of ${id}`, delayMs: random() * 60 });
    const saying = plan.map(async ({ bytes, delayMs }) => {
      await pause(delayMs);
      return say(token, bytes);
    });
    if (random() < 0.1) await strange(id, token);
    answered.set(id, await Promise.all(saying));
    if (random() < 0.1) await strange(id, token);
  }

  async function strange(id: string, token: string): Promise<void> {
    const forged = `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`;
    const tries = {
      'a forged token': say(forged, 'forged'),
      'a key of another namespace': say(token, 'stolen', stranger),
    };
    for (const [what, trying] of Object.entries(tries)) {
      const { status } = await trying;
      if (status !== 404) violations.push(`${id}: ${what} got ${status}`);
    }
    const foreign = await get(`${anyUrl()}/v1/operations/${id}/result`, { key: stranger, agent });
    if (foreign.status !== 404) violations.push(`${id}: shown to another namespace with ${foreign.status}`);
  }

  const background: Promise<void>[] = [];
  backend.behave(async ({ headers }) => {
    const token = /leases\/([^/]+)\/reply$/.exec(headers['operation-reply-url']!)![1]!;
    const saying = sayAll(headers['operation-id']!, token);
    background.push(saying);
    // Some are answered before the 202 that announces the answer.
    if (random() < 0.1) await saying;
    return { status: 202 };
  });
  const accepted: string[] = [];
  let next = 0;
  const call = async (): Promise<void> => {
    for (let at = next++; at < count; at = next++)
      accepted.push((await submit(anyUrl(), at % 2 === 0 ? 'later' : 'jobs', { body: 'x', key, agent })).id);
  };
  const work = async (): Promise<void> => {
    while (answered.size < count) {
      const { leases } = await leaseCall(anyUrl(), 'jobs', { max: 10, waitSeconds: 1, key, agent });
      await Promise.all(leases.map(({ token, operation }) => sayAll(operation.id, token)));
    }
  };
  await Promise.all([...Array.from({ length: 8 }, call), ...Array.from({ length: 4 }, work)]);
  await until(() => (background.length >= Math.ceil(count / 2) ? true : undefined));
  await Promise.all(background);

  for (const id of accepted) {
    const answers = answered.get(id)!;
    const { status } = await ended(`${anyUrl()}/v1/operations/${id}`, { key, agent });
    const taken = new Set(answers.filter((one) => one.status === 200).map(({ bytes }) => bytes));
    if (status !== 'succeeded' || taken.size !== 1) violations.push(`${id} ${status} with ${taken.size} answers taken`);
    for (const one of answers) {
      if (taken.has(one.bytes) ? one.status !== 200 : one.status !== 409 || one.code !== 'result-already-recorded')
        violations.push(`${id}: ${JSON.stringify(one)}`);
    }
    for (const url of pair.urls) {
      const { text } = await get(`${url}/v1/operations/${id}/result`, { key, agent });
      if (!taken.has(text)) violations.push(`${id}: the result is ${JSON.stringify(text)}`);
    }
  }
  agent.destroy();
  t.diagnostic(`${count} operations; replies answered ${JSON.stringify(statuses)}`);
  return { violations, statuses };
}
