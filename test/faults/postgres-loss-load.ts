// What asks a server while its database comes and goes: callers, a worker and a reader, who write down or check what they are told.
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Lease, Settlement } from '@waitless/protocol';
import { type Backend, backendFor } from '../support/backend.ts';
import { noise, sha256 } from '../support/fixtures.ts';
import { get, post, type Received, until } from '../support/http.ts';
import { Ledger, type Outcome } from '../support/ledger.ts';
import { submit } from '../support/operations.ts';
import { type Cluster, clusterFor } from '../support/postgres.ts';
import { leasedBody } from '../support/pull-worker.ts';
import { temporaryFolder } from '../support/server.ts';
import { outcomeOf } from '../support/submit-load.ts';
import { type TcpProxy, tcpProxy } from '../support/tcp-proxy.ts';
import { through } from './postgres-start.ts';

/** Of what is not in the ledger. */
export const aside = { 'Correlation-Id': 'aside' };

/** What the load and the rounds share. */
export interface Scene {
  readonly t: TestContext;
  readonly url: string;
  readonly cluster: Cluster;
  readonly proxy: TcpProxy;
  readonly ledger: Ledger;
  readonly backend: Backend;
  /** Ends the load. */
  readonly over: AbortSignal;
  /** While there is one, nobody else begins to wait for a result, so that those who wait can be counted. */
  quiet: Promise<void> | undefined;
  /** Longest time until a submit was answered. */
  worstAnswer: number;
}

/** Repeats `look` until it gives something else than undefined, and gives up when the load has: a run that fails must end. */
export const untilIn = <T>({ over }: Scene, look: () => Promise<T | undefined> | T | undefined): Promise<T> =>
  until(async () => {
    if (over.aborted) throw new Error('the load has ended');
    return look();
  });

/** The first answer that is not the database's absence. */
export const there = (scene: Scene, ask: () => Promise<Received>): Promise<Received> =>
  untilIn(scene, async () => {
    const answer = await ask();
    return answer.status === 503 ? undefined : answer;
  });

export interface SceneSettings {
  /** Starts what is tested on this database. */
  readonly start: (t: TestContext, url: string, services: Record<string, unknown>) => Promise<{ url: string }>;
}

export async function sceneFor(t: TestContext, { start }: SceneSettings, over: AbortSignal): Promise<Scene> {
  const cluster = await clusterFor(t);
  const proxy = await tcpProxy(t, { to: cluster.port });
  const backend = await backendFor(t, ({ body }) => ({ body }));
  const retry = { initialDelay: '100ms', maxDelay: '1s' };
  const { url } = await start(t, through(cluster.url(), proxy.port), {
    jobs: { target: { pull: true }, lease: '20s', retry },
    held: { target: { pull: true }, lease: '20s' },
    push: { target: { url: backend.url }, concurrency: 8, retry },
    slow: { target: { url: `${backend.url}/slow` }, concurrency: 8, retry },
  });
  const ledger = new Ledger(join(await temporaryFolder(t), 'ledger'));
  return { t, url, cluster, proxy, ledger, backend, over, quiet: undefined, worstAnswer: 0 };
}

/** Callers that submit and write down what they were told. */
export async function callers(
  scene: Scene,
  { service, count, wait }: { service: string; count: number; wait: number },
): Promise<void> {
  const { url, ledger, over } = scene;
  const agent = new Agent({ keepAlive: true, maxSockets: count });
  let next = 0;

  async function ask(key: string, body: Buffer): Promise<Outcome> {
    const line = { op: 'submit', key, bodySha: sha256(body) };
    const headers = {
      'Idempotency-Key': key,
      'Correlation-Id': key,
      'Content-Type': 'application/octet-stream',
      ...(wait > 0 ? { Prefer: `wait=${wait}` } : {}),
    };
    const askedAt = performance.now();
    let answer: Received;
    try {
      answer = await post(`${url}/v1/call/${service}`, { body, headers, agent });
    } catch (error) {
      ledger.add({ ...line, outcome: 'info', detail: String(error) });
      return 'info';
    }
    // Whoever waits for a result has asked for longer.
    if (wait === 0 || answer.status === 503)
      scene.worstAnswer = Math.max(scene.worstAnswer, performance.now() - askedAt);
    const outcome = outcomeOf(answer.status, answer.text);
    const id = answer.headers['operation-id'];
    ledger.add({
      ...line,
      outcome,
      detail: String(answer.status),
      ...(outcome === 'ok' && id !== undefined ? { id } : {}),
    });
    if (answer.status === 503) {
      assert.equal(answer.json()['code'], 'engine-unavailable', answer.text);
      assert.match(answer.headers['retry-after'] ?? '', /^[1-9]\d*$/);
    } else assert.ok(outcome === 'ok', `${answer.status} ${answer.text}`);
    if (answer.status === 200) assert.equal(sha256(answer.body), line.bodySha, 'the result is the echo');
    return outcome;
  }

  async function call(): Promise<void> {
    while (!over.aborted) {
      if (wait > 0) await scene.quiet;
      const index = next++;
      const key = `${service}-${wait}-${index}`;
      const body = noise(1024, index + 1);
      let outcome = await ask(key, body);
      // Half of the unknown ones are sent again until they are known, half are left as they are.
      while (outcome === 'info' && index % 2 === 0 && !over.aborted) {
        await pause(50);
        outcome = await ask(key, body);
      }
      // A caller that obeys Retry-After would hardly meet a short loss.
      await pause(outcome === 'ok' ? 20 : 100);
    }
  }
  try {
    await Promise.all(Array.from({ length: count }, call));
  } finally {
    agent.destroy();
  }
}

/** A pull worker as a careful one is: what it has done it says until it has an answer. */
export async function worker({ url, over }: Scene, service: string): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  let settle: Settlement[] = [];
  while (!over.aborted || settle.length > 0) {
    const waitSeconds = over.aborted ? 0 : 5;
    const answer = await post(`${url}/v1/services/${service}/leases`, {
      body: { worker: 'w', max: 20, waitSeconds, settle },
      agent,
    });
    if (answer.status === 503) {
      await pause(100);
      continue;
    }
    assert.equal(answer.status, 200, answer.text);
    const { leases } = answer.json<{ leases: Lease[] }>();
    settle = leases.map((lease) => ({
      token: lease.token,
      reply: { bodyBase64: leasedBody(lease).toString('base64') },
    }));
  }
  agent.destroy();
}

/** Looks at a result again and again: it is there as it was, or the answer is 503. */
export async function reader(scene: Scene): Promise<void> {
  const { url, over } = scene;
  const { result } = await submit(url, 'push', { body: 'read me', headers: aside });
  await untilIn(scene, async () =>
    (await get(result, { headers: { Prefer: 'wait=5' } })).status === 200 ? true : undefined,
  );
  while (!over.aborted) {
    const { status, text } = await get(result);
    assert.ok(status === 503 || (status === 200 && text === 'read me'), `${status} ${text}`);
    await pause(20);
  }
}
