// One JSON request to a server for what the client has no verb for: the tasks of an operator.
import { type Problem, WaitlessError } from '@waitless/protocol';
import type { Connection } from './connection.ts';
import { Failure } from './failure.ts';

export interface ExchangeRequest {
  method: 'GET' | 'POST';
  path: string;
  headers?: Record<string, string>;
  /** Goes as JSON. */
  body?: unknown;
}

/** The JSON of an answer that is none of a problem. Throws WaitlessError for a problem, Failure for what is no answer of ours. */
export async function exchange<T>(
  { url, apiKey }: Connection,
  { method, path, headers, body }: ExchangeRequest,
): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`${url}${path}`, {
      method,
      headers: {
        ...headers,
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...(apiKey === undefined ? {} : { Authorization: `Bearer ${apiKey}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch (error) {
    const { cause } = error as { cause?: { code?: string } };
    const why = cause?.code === 'ECONNREFUSED' ? 'connection refused' : (cause?.code ?? 'the request failed');
    throw new Failure(`cannot reach ${url}: ${why}. Is the server running? \`npx waitless dev\` starts one.`);
  }
  const answer = (await response.json().catch(() => undefined)) as (T & Problem) | undefined;
  if (answer === undefined)
    throw new Failure(`${url} answered ${response.status} without JSON: is that a Waitless server?`);
  if (!response.ok) throw new WaitlessError(answer.code, answer.detail, { status: response.status, headers: {} });
  return answer;
}
