// A pull worker on raw HTTP: takes leases and answers them with exactly the bytes a test gives.
import assert from 'node:assert/strict';
import type { RawResponse } from './raw-http.ts';
import type { Victim } from './victim.ts';

export interface LeasedWork {
  token: string;
  operation: { id: string; correlationId: string };
  request: {
    method: string;
    path: string;
    query: string;
    headers: [string, string][];
    body?: unknown;
    bodyBase64?: string;
  };
}

export interface Posted {
  headers?: readonly (readonly [string, string])[];
  body?: string | Uint8Array;
  namespace?: string;
}

/** POST of JSON as it stands. */
export function postJson(
  victim: Victim,
  path: string,
  body: string | Uint8Array,
  namespace?: string,
): Promise<RawResponse> {
  const parts = { method: 'POST', path, headers: [['Content-Type', 'application/json']] as const, body };
  return namespace === undefined ? victim.ask(parts) : victim.askAs(namespace, parts);
}

/** Submits and leases one operation of a pull service that has no other. */
export async function leaseOne(
  victim: Victim,
  service: string,
  { headers, body = 'x', namespace }: Posted = {},
): Promise<LeasedWork> {
  const parts = { method: 'POST', path: `/v1/call/${service}`, ...(headers ? { headers } : {}), body };
  const accepted = namespace === undefined ? await victim.ask(parts) : await victim.askAs(namespace, parts);
  assert.equal(accepted.status, 202, accepted.text);
  const leased = await postJson(victim, `/v1/services/${service}/leases`, '{"max":1,"leaseSeconds":300}', namespace);
  assert.equal(leased.status, 200, leased.text);
  const { leases } = leased.json<{ leases: LeasedWork[] }>();
  assert.equal(leases[0]?.operation.id, accepted.header('operation-id'));
  return leases[0]!;
}

/** The bytes of a body in an envelope. */
export function bodyOf({ body, bodyBase64 }: { body?: unknown; bodyBase64?: string }): Buffer {
  if (bodyBase64 !== undefined) return Buffer.from(bodyBase64, 'base64');
  assert.equal(typeof body, 'string', 'a body in an answer is text');
  return Buffer.from(body as string, 'utf8');
}
