// Makes read-only tokens: what a page may show its visitor of some operations and topics, without an API key in the page.
import { WaitlessError } from '@waitless/protocol';
import type { Fetch } from '../../core/fetch.ts';
import type { Ids } from '../../core/ids.ts';
import { fitsToken, longestReadMs, mostReadOperations, mostTopicBytes } from '../../core/read-token.ts';
import type { OperationKey } from '../../engine/engine.ts';
import { type Clock, isoTime } from '../../lib/clock.ts';
import { type Handler, jsonAnswer } from './exchange.ts';
import { mostTopics, readTopics } from '../json/topic-wish.ts';
import { jsonBody } from './json-body.ts';
import { fieldError, Shape } from '../json/shape.ts';
import { WrongGuess } from './wrong-guess.ts';

const controlBytes = 256 * 1024;
/** Long enough for most operations, short enough for a URL that was copied somewhere. */
const defaultMs = 15 * 60_000;
const leastMs = 1000;

export interface TokenDependencies {
  fetch: Pick<Fetch, 'operation'>;
  ids: Ids;
  clock: Clock;
}

export function tokenHandler({ fetch, ids, clock }: TokenDependencies): Handler {
  /** The operation as whoever asks for it by its id finds it: what is not the caller's is not there. */
  async function found(id: string, { at, namespace }: { at: number; namespace: string }): Promise<OperationKey> {
    try {
      const { seq, nonce } = await fetch.operation(id, namespace);
      return { seq, nonce };
    } catch (error) {
      if (!(error instanceof WaitlessError) || error.code !== 'not-found') throw error;
      const pointer = `/operations/${at}`;
      const members = { errors: [{ pointer, detail: error.message }] };
      throw new WrongGuess('not-found', { detail: `${pointer}: ${error.message}`, guess: id, members });
    }
  }

  return async (exchange) => {
    const { namespace } = exchange;
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    const body = new Shape(value, '', ['operations', 'topics', 'expiresIn']);
    const topics = topicsOf(body);
    const asked = idsOf(body, { needed: topics.length === 0 });
    const lifeMs = lifeOf(body);
    const operations: OperationKey[] = [];
    // One after another: the first that is not there ends it, and a hundred at once would take the store's connections from everybody else.
    for (const [id, at] of asked) operations.push(await found(id, { at, namespace }));
    if (!fitsToken({ operations, topics }))
      throw fieldError(
        'invalid-parameter',
        '/topics',
        `take too much of one token, which is part of URLs: ${mostTopicBytes} characters of topics at most, and with them fewer than ${mostReadOperations} operations; make two tokens`,
      );
    const expiresAt = clock.now() + lifeMs;
    const token = ids.readToken({ namespace, operations, topics, expiresAt });
    return jsonAnswer(200, JSON.stringify({ token, expiresAt: isoTime(expiresAt) }));
  };
}

/** Each id once, with its first place in the list. */
function idsOf(body: Shape, { needed }: { needed: boolean }): Map<string, number> {
  const list = body.list('operations', mostReadOperations) ?? [];
  if (list.length === 0 && (needed || body.has('operations')))
    throw fieldError(
      'invalid-parameter',
      '/operations',
      `must name 1 to ${mostReadOperations} operations by their ids; or name /topics and leave it out`,
    );
  const asked = new Map<string, number>();
  for (const [at, id] of list.entries()) {
    if (typeof id !== 'string')
      throw fieldError('invalid-parameter', `/operations/${at}`, 'must be the id of an operation');
    if (!asked.has(id)) asked.set(id, at);
  }
  return asked;
}

function topicsOf(body: Shape): string[] {
  if (!body.has('topics')) return [];
  const list = body.list('topics', mostTopics) ?? [];
  if (list.length === 0)
    throw fieldError('invalid-parameter', '/topics', `must name 1 to ${mostTopics} topics, by names or patterns`);
  for (const [at, topic] of list.entries())
    if (typeof topic !== 'string')
      throw fieldError('invalid-parameter', `/topics/${at}`, 'must be the name of a topic, or a pattern of names');
  return readTopics(list as string[], '/topics');
}

function lifeOf(body: Shape): number {
  const lifeMs = body.pauseMs('expiresIn') ?? defaultMs;
  if (lifeMs < leastMs || lifeMs > longestReadMs)
    throw fieldError('invalid-parameter', '/expiresIn', 'must be from 1s to 1h');
  return lifeMs;
}
