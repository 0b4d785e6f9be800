// A pull worker's side of the wire: lease, answer, give back.
import assert from 'node:assert/strict';
import type { Agent } from 'node:http';
import type { Lease, LeaseRequest, LeaseResponse } from '@waitless/protocol';
import { post, type Received, type Sent } from './http.ts';

export interface WorkerOptions extends LeaseRequest {
  key?: string;
  signal?: AbortSignal;
  agent?: Agent;
}

/** One lease call. */
export async function leaseCall(
  base: string,
  service: string,
  { key, signal, agent, ...wanted }: WorkerOptions = {},
): Promise<LeaseResponse> {
  const answer = await post(`${base}/v1/services/${service}/leases`, {
    body: { ...wanted },
    ...(key === undefined ? {} : { key }),
    ...(signal ? { signal } : {}),
    ...(agent ? { agent } : {}),
  });
  assert.equal(answer.status, 200, answer.text.slice(0, 300));
  return answer.json<LeaseResponse>();
}

/** One lease, waited for. */
export async function takeOne(base: string, service: string, wanted: WorkerOptions = {}): Promise<Lease> {
  for (;;) {
    const { leases } = await leaseCall(base, service, { waitSeconds: 10, ...wanted, max: 1 });
    if (leases[0]) return leases[0];
  }
}

export const answerLease = (base: string, token: string, verb: string, sent: Sent = {}): Promise<Received> =>
  post(`${base}/v1/leases/${token}/${verb}`, sent);

/** Replies with raw bytes. */
export const reply = (
  base: string,
  token: string,
  body: string | Uint8Array,
  headers: Record<string, string> = {},
): Promise<Received> => answerLease(base, token, 'reply', { body, headers });

/** The bytes of a leased request's body. */
export const leasedBody = ({ request }: Lease): Buffer =>
  request.bodyBase64 === undefined
    ? Buffer.from(request.body ?? '', 'utf8')
    : Buffer.from(request.bodyBase64, 'base64');
