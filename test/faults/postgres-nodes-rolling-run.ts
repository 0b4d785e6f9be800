// Two nodes restarted in turns by SIGTERM under load, as an operator does it behind a balancer: who is cut off, and what becomes of the work.
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Page, TimelineEntry } from '@waitless/protocol';
import { backendFor } from '../support/backend.ts';
import { sha256 } from '../support/fixtures.ts';
import { get, post, until } from '../support/http.ts';
import { classify, Ledger, type Seen, type Verdict } from '../support/ledger.ts';
import { temporaryFolder } from '../support/server.ts';
import { outcomeOf } from '../support/submit-load.ts';
import { assertCountsAreRight, everyOperation, onlyTheLivingAreListed, twoProcesses } from './postgres-nodes.ts';

export interface RollingRun {
  restarts: number;
  /** Submits per second, of both nodes together. */
  perSecond: number;
  /** Submits between two restarts at least. */
  between: number;
  /** `kill`: the positive control, nodes that are not asked but killed. */
  signal: 'SIGTERM' | 'SIGKILL';
}

export interface RollingVerdict {
  verdict: Verdict;
  /** Requests whose connection was taken and that got no answer. */
  cutOff: number;
  /** Of all requests. */
  requests: number;
  /** How attempts ended that were not the last, by outcome. */
  ended: Record<string, number>;
  /** Used up an attempt more than one. */
  used: string[];
}

const services = (url: string) => ({ score: { target: { url }, concurrency: 16 } });

export async function rollingRun(t: TestContext, run: RollingRun): Promise<RollingVerdict> {
  const { restarts, perSecond, between, signal } = run;
  const backend = await backendFor(t, async ({ body }) => {
    await pause(50 + Math.random() * 200);
    return { body };
  });
  const pair = await twoProcesses(t, { services: services(backend.url) });
  const ledger = new Ledger(join(await temporaryFolder(t), 'ledger'));
  let made = 0;
  let cutOff = 0;
  let over = false;
  /** Until when a node gets nothing, for it has said so or is not there. */
  const passedOverUntil = [0, 0];

  /** As a balancer does it: a node that takes no connection, or says that it stops, is passed over for a while. */
  async function submitOne(at: number): Promise<void> {
    const key = `op-${at}`;
    const body = `body of ${key}`;
    const line = { op: 'submit', key, bodySha: sha256(Buffer.from(body)) };
    // Half of them wait for the result, so that a stop finds many who do.
    const headers = { 'Idempotency-Key': key, 'Correlation-Id': key, ...(at % 2 === 0 ? { Prefer: 'wait=20' } : {}) };
    for (let turn = at; ; turn++) {
      const node = turn % 2;
      if (performance.now() < passedOverUntil[node]! && performance.now() < passedOverUntil[1 - node]!) await pause(20);
      if (performance.now() < passedOverUntil[node]!) continue;
      try {
        const answer = await post(`${pair.urls[node]}/v1/call/score`, { body, headers });
        const outcome = outcomeOf(answer.status, answer.text);
        const id = answer.headers['operation-id'];
        ledger.add({
          ...line,
          outcome,
          detail: String(answer.status),
          ...(outcome === 'ok' && id !== undefined ? { id } : {}),
        });
        if (outcome === 'ok') return;
        assert.equal(answer.status, 503, answer.text);
        passedOverUntil[node] = performance.now() + 1000 * Number(answer.headers['retry-after']);
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        const code = String((error as NodeJS.ErrnoException).code);
        if (code === 'ECONNREFUSED') passedOverUntil[node] = performance.now() + 200;
        else {
          cutOff++;
          ledger.add({ ...line, outcome: 'info', detail: code });
        }
      }
    }
  }

  const submitting = new Set<Promise<void>>();
  const load = async (): Promise<void> => {
    const begun = performance.now();
    while (!over) {
      const due = ((performance.now() - begun) * perSecond) / 1000;
      while (made < due && submitting.size < 500) {
        const one: Promise<void> = submitOne(made++).finally(() => submitting.delete(one));
        submitting.add(one);
      }
      await pause(5);
    }
    await Promise.all(submitting);
  };
  const loading = load();
  for (let round = 0; round < restarts; round++) {
    const from = made;
    await until(() => (made >= from + between ? true : undefined));
    const exit = await pair.end(round % 2, signal);
    if (signal === 'SIGTERM') assert.deepEqual(exit, { code: 0, signal: null }, pair.printed(round % 2));
    await pair.start(round % 2);
  }
  over = true;
  await loading;

  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  await until(async () => {
    const { items } = (await get(`${pair.urls[0]}/v1/operations?status=queued,running&limit=1`, { agent })).json<
      Page<unknown>
    >();
    return items.length === 0 ? true : undefined;
  });
  const seen: Seen[] = [];
  const ended: Record<string, number> = {};
  const used: string[] = [];
  let slowest = 0;
  const listed = await everyOperation(pair.urls[1]);
  let next = 0;
  const look = async (): Promise<void> => {
    for (let at = next++; at < listed.length; at = next++) {
      const { id, correlationId: key, status, attempt } = listed[at]!;
      const url = `${pair.urls[at % 2]}/v1/operations/${id}`;
      const { body } = await get(`${url}/result`, { agent });
      seen.push({
        key,
        id,
        bodySha: sha256(body),
        resultShas: [status === 'succeeded' ? sha256(body) : status],
        pending: false,
      });
      if (attempt !== 1) used.push(`${id}: ${attempt}`);
      const { items } = (await get(`${url}/timeline`, { agent })).json<Page<TimelineEntry>>();
      const attempts = items.flatMap((entry) => (entry.type === 'attempt' ? [entry] : []));
      for (const [index, { outcome, endedAt }] of attempts.slice(0, -1).entries()) {
        ended[outcome!] = (ended[outcome!] ?? 0) + 1;
        slowest = Math.max(slowest, Date.parse(attempts[index + 1]!.at) - Date.parse(endedAt!));
      }
    }
  };
  await Promise.all(Array.from({ length: 16 }, look));
  agent.destroy();
  const verdict = classify(ledger.last('submit'), seen);
  t.diagnostic(
    `${made} submits through ${restarts} restarts, ${ledger.lines.length} requests, ${cutOff} cut off; attempts given back: ` +
      `${JSON.stringify(ended)}, taken up again after ${slowest} ms at most`,
  );
  await assertCountsAreRight(pair.urls);
  await onlyTheLivingAreListed(pair.store, 2);
  return { verdict, cutOff, requests: ledger.lines.length, ended, used };
}
