// Results that one node tells of and the other one is asked for in the same moment: ready there too, and the very same bytes.
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Engine } from '../../packages/server/src/engine/engine.ts';
import { everyByte, fragileJson, noise, otherBytes } from '../support/fixtures.ts';
import { get, type Received } from '../support/http.ts';
import { ended, resultOf, submit } from '../support/operations.ts';
import { answerLease, leaseCall } from '../support/pull-worker.ts';
import { assertCountsAreRight, twoServers } from './postgres-nodes.ts';

export interface FetchRun {
  results: number;
  /** How many are under way at once. */
  callers: number;
  hints: boolean;
  /** How often those who wait look without a hint. */
  pollMs?: number;
  /** The positive control: the engine of the node that is asked after the notice. */
  wrapEngine?: (engine: Engine) => Engine;
}

export interface FetchVerdict {
  /** Asked after the notice, and not there. */
  notReady: string[];
  /** There, and not as the worker sent it, or not the same on both nodes. */
  different: string[];
}

const contents: [type: string, body: Uint8Array][] = [
  ...Object.values(fragileJson).map((body): [string, Uint8Array] => ['application/json', body]),
  ...Object.values(otherBytes).map((body): [string, Uint8Array] => ['application/octet-stream', body]),
  ['application/vnd.own+json; charset=utf-8', everyByte],
  // In several pieces.
  ['application/octet-stream', noise(300_000)],
];

const contentOf = (at: number): [type: string, body: Uint8Array] => contents[at % contents.length]!;

export async function fetchRun(t: TestContext, run: FetchRun): Promise<FetchVerdict> {
  const { results: count, callers, hints, pollMs, wrapEngine } = run;
  const pair = await twoServers(t, {
    services: { jobs: { target: { pull: true } } },
    hints,
    ...(pollMs === undefined ? {} : { pollMs }),
    ...(wrapEngine
      ? { wrapEngine: (engine: Engine, index: number) => (index === 0 ? engine : wrapEngine(engine)) }
      : {}),
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  const [telling, asked] = pair.urls;
  const over = new AbortController();
  /** When the answer of each was acknowledged. */
  const repliedAt = new Map<string, number>();
  const wakes: number[] = [];
  const verdict: FetchVerdict = { notReady: [], different: [] };

  /** Takes from any node and answers, most often, the one that nobody waits at. */
  async function worker(number: number): Promise<void> {
    for (let turn = number; !over.signal.aborted; turn++) {
      const wanted = { worker: `w${number}`, max: 1, waitSeconds: 20, agent, signal: over.signal };
      const { leases } = await leaseCall(pair.urls[turn % 2]!, 'jobs', wanted).catch(() => ({ leases: [] }));
      for (const { token, operation, request } of leases) {
        const [type, body] = contentOf(Number(request.body));
        await pause(Math.random() * 20);
        const headers = { 'Content-Type': type };
        const answer = await answerLease(turn % 4 === 0 ? telling : asked, token, 'reply', { body, headers, agent });
        assert.equal(answer.status, 200, answer.text);
        repliedAt.set(operation.id, performance.now());
      }
    }
  }

  /** Resolves when a wait at the first node is told that it has ended; with the result, where that is what is waited for. */
  async function notice(id: string, at: number): Promise<Received | undefined> {
    const status = `${telling}/v1/operations/${id}`;
    if (at % 3 !== 0) return resultOf(`${status}/result`, { agent });
    await ended(status, { agent });
    return undefined;
  }

  async function one(at: number): Promise<void> {
    const [type, body] = contentOf(at);
    const { id } = await submit(pair.urls[at % 2]!, 'jobs', { body: `${at}`, agent });
    const url = (base: string): string => `${base}/v1/operations/${id}/result`;
    // Whoever has looked before must not be told again what he saw then.
    await get(url(asked), { agent });
    const told = await notice(id, at);
    const toldAt = performance.now();
    const there = await get(url(asked), { agent });
    const here = await get(url(telling), { agent });
    wakes.push(Math.max(0, toldAt - (repliedAt.get(id) ?? toldAt)));
    const answers = { 'the notice': told, 'the other node': there, 'the telling node': here };
    for (const [where, answer] of Object.entries(answers)) {
      if (!answer) continue;
      const etag = answer.headers['etag'];
      if (answer.status !== 200) verdict.notReady.push(`${id}: ${answer.status} from ${where}`);
      else if (!answer.body.equals(body)) verdict.different.push(`${id}: other bytes from ${where}`);
      else if (answer.headers['content-type'] !== type)
        verdict.different.push(`${id}: ${answer.headers['content-type']} from ${where}`);
      else if (etag === undefined || etag !== here.headers['etag'])
        verdict.different.push(`${id}: another ETag from ${where}`);
    }
  }

  const workers = Array.from({ length: callers }, (_, number) => worker(number));
  let next = 0;
  const call = async (): Promise<void> => {
    for (let at = next++; at < count; at = next++) await one(at);
  };
  await Promise.all(Array.from({ length: callers }, call));
  over.abort();
  await Promise.all(workers);
  agent.destroy();
  wakes.sort((a, b) => a - b);
  const part = (share: number): string => `${wakes[Math.ceil(wakes.length * share) - 1]!.toFixed(1)} ms`;
  t.diagnostic(
    `${count} results; told after the reply was acknowledged: half within ${part(0.5)}, 99 % ${part(0.99)}, all ${part(1)}`,
  );
  if (!wrapEngine) await assertCountsAreRight(pair.urls);
  return verdict;
}
