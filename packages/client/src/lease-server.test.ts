// What the tests of the worker share: a small server of leases, and a worker that ends with its test. It holds no test itself.
import type { ServerResponse } from 'node:http';
import type { TestContext } from 'node:test';
import type { Lease, LeaseRequest } from '@waitless/protocol';
import { createClient, type Handler, type Worker, type WorkerOptions } from './index.ts';
import { json, type Seen, serve } from './support.test.ts';

export const leaseOf = (id: string, more: Partial<Lease['request']> = {}): Lease => ({
  token: `t-${id}`,
  operation: { id, correlationId: `c-${id}`, service: 'jobs', labels: { a: 'b' }, createdAt: '2026-01-01T00:00:00Z' },
  request: { method: 'POST', path: '/x', query: 'q=1', headers: [['X-A', '1']], body: `body ${id}`, ...more },
  attempt: 2,
  lastAttempt: false,
  deadline: '2026-01-01T01:00:00Z',
  expiresAt: '2026-01-01T00:00:30Z',
});

export interface Fake {
  url: string;
  seen: Seen[];
  /** The bodies of all lease calls so far. */
  calls(): LeaseRequest[];
  /** Everything told about a token, by route or in a settle, in order. */
  told(token: string): unknown[];
  /** Resolves when `fact` holds, looked at after every request. */
  until(fact: () => boolean): Promise<void>;
}

/** Hands out `leases` as asked for, holds polls when there are none left, and takes every answer, unless `special` answers itself. */
export async function leaseServer(
  t: TestContext,
  leases: Lease[],
  special: (seen: Seen, response: ServerResponse) => boolean = () => false,
): Promise<Fake> {
  const wake: (() => void)[] = [];
  const { url, seen } = await serve(t, (one, response) => {
    for (const look of wake.splice(0)) look();
    if (special(one, response)) return;
    if (!one.url.endsWith('/leases')) return json(response, 200, { status: 'recorded', expiresAt: 'x' });
    const { max = 1, waitSeconds = 0, settle = [] } = JSON.parse(one.body.toString()) as LeaseRequest;
    const given = leases.splice(0, max);
    if (given.length === 0 && waitSeconds > 0) return;
    json(response, 200, { settled: settle.map(() => ({ status: 200 })), leases: given });
  });
  const calls = (): LeaseRequest[] =>
    seen
      .filter(({ url: path }) => path.endsWith('/leases'))
      .map(({ body }) => JSON.parse(body.toString()) as LeaseRequest);
  return {
    url,
    seen,
    calls,
    told: (token) => [
      ...calls().flatMap(({ settle = [] }) => settle.filter((item) => item.token === token)),
      ...seen.filter(({ url: path }) => path.startsWith(`/v1/leases/${token}/`)).map(({ url: path }) => path),
    ],
    async until(fact) {
      while (!fact()) await new Promise<void>((resolve) => wake.push(resolve));
    },
  };
}

/** A worker that is stopped when the test ends. */
export function start(t: TestContext, fake: Fake, handler: Handler, options: WorkerOptions = {}): Worker {
  const worker = createClient({ url: fake.url, seams: { random: () => 0 } }).worker('jobs', handler, options);
  t.after(() => worker.stop({ graceSeconds: 0 }).catch(() => {}));
  return worker;
}
