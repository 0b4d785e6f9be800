// The client's side in a line each: submit, look, wait for the end.
import assert from 'node:assert/strict';
import type { Operation, OperationReceipt } from '@waitless/protocol';
import { nodesBehind } from './balancer.ts';
import { get, type Received, send, type Sent, until } from './http.ts';

export interface Accepted {
  id: string;
  /** URL of the status document. */
  status: string;
  /** URL of the result. */
  result: string;
  receipt: OperationReceipt;
  answer: Received;
}

/** Submits and expects 202. `path` is what follows the service's name, with its slash. */
export async function submit(
  base: string,
  service: string,
  { path = '', method = 'POST', ...sent }: Sent & { path?: string } = {},
): Promise<Accepted> {
  const answer = await send(`${base}/v1/call/${service}${path}`, { method, ...sent });
  assert.equal(answer.status, 202, `expected 202, got ${answer.status}: ${answer.text.slice(0, 300)}`);
  return {
    id: answer.headers['operation-id']!,
    status: answer.headers['operation-location']!,
    result: answer.headers['location']!,
    receipt: (method === 'HEAD' ? {} : answer.json()) as OperationReceipt,
    answer,
  };
}

export async function statusOf(url: string, sent: Sent = {}): Promise<Operation> {
  const answer = await get(url, sent);
  assert.equal(answer.status, 200, answer.text.slice(0, 300));
  return answer.json<Operation>();
}

/** The status document once `fits` says so; long-polls, so that nothing is missed and nothing is timed. */
export async function statusWhen(
  url: string,
  fits: (operation: Operation) => boolean,
  sent: Sent = {},
): Promise<Operation> {
  let etag: string | undefined;
  for (;;) {
    const answer = await get(url, {
      ...sent,
      // Without a version that was seen the first look would wait for the next change.
      headers: { ...(etag === undefined ? {} : { Prefer: 'wait=10', 'If-None-Match': etag }), ...sent.headers },
    });
    if (answer.status === 304) continue;
    assert.equal(answer.status, 200, answer.text.slice(0, 300));
    const operation = answer.json<Operation>();
    if (fits(operation)) return operation;
    etag = answer.headers['etag'];
  }
}

/** The status document of the ended operation. */
export const ended = (url: string, sent: Sent = {}): Promise<Operation> =>
  statusWhen(url, (operation) => operation.done, sent);

/** The result of the operation once it has ended, whatever it is. */
export async function resultOf(url: string, sent: Sent = {}): Promise<Received> {
  for (;;) {
    const answer = await get(url, { ...sent, headers: { Prefer: 'wait=10', ...sent.headers } });
    if (answer.status !== 202) return answer;
  }
}

/** Expects a problem document of this code (RFC 9457). */
export function assertProblem(answer: Received, status: number, code: string): void {
  assert.equal(answer.status, status, `expected ${status} ${code}, got ${answer.status}: ${answer.text.slice(0, 300)}`);
  assert.equal(answer.headers['content-type'], 'application/problem+json');
  const problem = answer.json<{ code: string; status: number; type: string }>();
  assert.equal(problem.code, code);
  assert.equal(problem.status, status);
  assert.match(problem.type, new RegExp(`/problems/${code}$`));
  assert.equal(answer.headers['operation-status'], undefined, 'a problem of ours never looks like a result');
}

/** Resolves when so many requests wait at the server, by the count of its own of each of its nodes. */
export async function waitersReach(base: string, fits: (waiters: number) => boolean): Promise<void> {
  await until(async () => {
    let waiters = 0;
    for (const node of nodesBehind(base)) {
      const { text } = await get(`${node}/metrics`);
      waiters += Number(/^waitless_waiters(?:\{[^}]*\})? (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
    }
    return fits(waiters) ? true : undefined;
    // The page counts what the store holds.
  }, 40);
}
