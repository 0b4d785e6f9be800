// Results by what the business calls them, a key or a correlation id: look, forget, compute anew.
import { isName, WaitlessError } from '@waitless/protocol';
import { answerGraceMs } from './response.ts';
import { lookAt, type ResultOptions, type ResultOutcome } from './result.ts';
import { readSubmitted, type SubmitOutcome } from './submit.ts';
import type { Wire } from './wire.ts';

/** One value, or the values of a composite key in the order of the service's rule. */
export type ResultKey = string | readonly string[];

/** The newest result under a key: there, or `pending` while it is computed. Throws `not-found` where there is neither. */
export async function resultByKey(
  wire: Wire,
  { service, key }: { service: string; key: ResultKey },
  options: ResultOptions = {},
): Promise<ResultOutcome> {
  return lookAt(wire, { path: keyPath(service, key) }, options);
}

/** The result of the newest operation with a correlation id, or `pending`. Throws `not-found` where there is none. */
export async function resultByCorrelationId(
  wire: Wire,
  { service, correlationId }: { service: string; correlationId: string },
  options: ResultOptions = {},
): Promise<ResultOutcome> {
  const query = `?correlationId=${encodeURIComponent(correlationId)}`;
  return lookAt(wire, { path: resultsPath(service) + query }, options);
}

/** Forgets what is stored under a key, so that the next submit does the work anew. */
export async function purgeKey(
  wire: Wire,
  { service, key }: { service: string; key: ResultKey },
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const response = await wire.send({
    method: 'DELETE',
    path: keyPath(service, key),
    signal,
    headersTimeoutMs: answerGraceMs,
  });
  await response.body?.cancel();
}

/** Computes what is stored under a key anew, behind the stored result, which answers until then. */
export async function refreshKey(
  wire: Wire,
  { service, key }: { service: string; key: ResultKey },
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<SubmitOutcome> {
  const path = keyPath(service, key, '/refresh');
  const response = await wire.send({ method: 'POST', path, signal, headersTimeoutMs: answerGraceMs });
  return readSubmitted(wire, response, { signal });
}

/** As a query, since a key may hold slashes, dots and any other byte, and a composite one has several values. */
function keyPath(service: string, key: ResultKey, verb = ''): string {
  const values = typeof key === 'string' ? [key] : key;
  if (values.length === 0) throw new WaitlessError('invalid-parameter', 'a result key has at least one value.');
  const query = values.map((value) => `key=${encodeURIComponent(value)}`).join('&');
  return `${resultsPath(service)}${verb}?${query}`;
}

function resultsPath(service: string): string {
  if (!isName(service))
    throw new WaitlessError('invalid-name', `"${service}" is not a service name: letters, digits, "_" and "-" only.`);
  return `/v1/services/${service}/results`;
}
