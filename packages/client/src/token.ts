// Read-only tokens: a server that has an API key makes one, a browser that has none looks at its operations and topics with it.
import { routePath, WaitlessError } from '@waitless/protocol';
import { answerGraceMs } from './response.ts';
import { readJson, type Wire } from './wire.ts';

export interface TokenOptions {
  /** Ids of the operations that the token opens, 100 at most. */
  operations?: readonly string[] | undefined;
  /** Names or patterns of topics that it opens. One of the two must be there. */
  topics?: readonly string[] | undefined;
  /** A duration such as `15m`, or seconds; 15 minutes by default, an hour at most. */
  expiresIn?: string | number | undefined;
  signal?: AbortSignal | undefined;
}

export interface ReadToken {
  /** A secret until it expires. */
  token: string;
  /** RFC 3339. */
  expiresAt: string;
}

/** A token for some operations and topics. Throws `not-found` where one of them is not there. */
export async function readToken(
  wire: Wire,
  { operations, topics, expiresIn, signal }: TokenOptions,
): Promise<ReadToken> {
  const response = await wire.send({
    method: 'POST',
    path: routePath('createToken'),
    headers: new Headers({ 'Content-Type': 'application/json' }),
    body: new TextEncoder().encode(JSON.stringify({ operations, topics, expiresIn })),
    signal,
    headersTimeoutMs: answerGraceMs,
  });
  const made = await readJson<ReadToken>(wire.url, response, signal);
  if (typeof made?.token !== 'string')
    throw new WaitlessError('unexpected-answer', `${wire.url} answered without a token: is that a Waitless server?`, {
      status: response.status,
    });
  return made;
}
