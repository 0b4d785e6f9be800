// What a read-only token in `?token=` opens: decided here, before any handler runs and for every route alike.
import { type Route, takesTokens, WaitlessError } from '@waitless/protocol';
import type { Ids } from '../../core/ids.ts';
import type { Clock } from '../../lib/clock.ts';
import { isTopicName, TopicPatterns } from '../../lib/topic-trie.ts';
import type { Visit } from '../edge.ts';
import { WrongGuess } from './wrong-guess.ts';

export interface VisitRequest {
  query: string;
  route: Route;
  authorization: string | undefined;
}

/** Every value of `token` where it is a credential. Never throws: what else is wrong with the query is not told to whoever has no key. */
export function tokensIn(query: string, route: Route): readonly string[] {
  return query !== '' && takesTokens(route) ? new URLSearchParams(query).getAll('token') : none;
}

const none: readonly string[] = [];

export class ReadTokens {
  readonly #ids: Pick<Ids, 'readGrant' | 'operationId'>;
  readonly #clock: Pick<Clock, 'now'>;

  constructor({ ids, clock }: { ids: Pick<Ids, 'readGrant' | 'operationId'>; clock: Pick<Clock, 'now'> }) {
    this.#ids = ids;
    this.#clock = clock;
  }

  /**
   * Undefined where the request has no token. Throws 401 for a token that is none, 403 where none is taken: that depends on the route and the method
   * alone, so it tells nothing of any operation. Which operations it opens is for the caller to ask, and to answer as for ids that nobody has.
   */
  visit({ query, route, authorization }: VisitRequest): Visit | undefined {
    const [token, second] = tokensIn(query, route);
    if (token === undefined) return undefined;
    if (second !== undefined) throw new WaitlessError('invalid-parameter', '"token" stands twice in the query');
    if (authorization !== undefined)
      throw new WaitlessError('invalid-parameter', 'send an API key or ?token=, not both: one of them is too much');
    const visit = this.visitOf(token);
    if (!route.readableByToken)
      throw new WaitlessError(
        'insufficient-scope',
        'a read-only token opens the look-ups of its operations and the events of its topics, and nothing else; send an API key',
      );
    return visit;
  }

  /** What a token opens. Throws 401 for one that is none. */
  visitOf(token: string): Visit {
    const grant = this.#ids.readGrant(token);
    if (!grant)
      throw new WrongGuess('invalid-token', {
        detail: 'the read-only token is none of this server: it was changed, cut short or never made',
        guess: token,
      });
    const leftMs = grant.expiresAt - this.#clock.now();
    if (leftMs <= 0)
      throw new WaitlessError('invalid-token', 'the read-only token has expired; make a new one with POST /v1/tokens');
    return {
      namespace: grant.namespace,
      opens: (id) => grant.operations.some((key) => this.#ids.operationId(key) === id),
      opensTopic: (topic) => opensTopic(grant.topics, topic),
      leftMs,
    };
  }
}

/** What is granted by a pattern is open by each name that it matches; another pattern is another grant, even a narrower one. */
function opensTopic(granted: readonly string[], topic: string): boolean {
  const named = topic.replaceAll('#', '**');
  if (granted.includes(named)) return true;
  if (granted.length === 0 || !isTopicName(topic)) return false;
  const patterns = new TopicPatterns<true>();
  for (const pattern of granted) patterns.add(pattern, true);
  return patterns.matching(topic).size > 0;
}

/** No page that shows an answer tells the next one its address, the token included; a backend's own wish is weaker. */
export function withoutReferrer(headers: readonly string[]): string[] {
  const rest = headers.filter((_, i) => headers[i - (i % 2)]!.toLowerCase() !== 'referrer-policy');
  return [...rest, 'Referrer-Policy', 'no-referrer'];
}
