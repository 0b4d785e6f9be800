// Whether a read-only token opens what a request is about: its operation, its topic, or all that a stream names.
import { routes, WaitlessError } from '@waitless/protocol';
import { noSuchOperation } from '../../core/fetch.ts';
import type { Visit } from '../edge.ts';
import type { Match } from './router.ts';
import { streamQuery } from './stream.ts';
import { topicOf } from './topics.ts';

interface Named {
  operations: readonly (string | undefined)[];
  topics: readonly string[];
}

/** Throws where it does not, as for an id that nobody has, whether there is such an operation or not. */
export function checkVisit(visit: Visit, match: Match, query: string): void {
  const { operations, topics } = namedBy(match, query);
  if (!operations.every((id) => visit.opens(id))) throw noSuchOperation();
  // A topic needs no event to be one, so that this tells nothing of what there is.
  if (!topics.every((topic) => visit.opensTopic(topic)))
    throw new WaitlessError('insufficient-scope', 'the read-only token does not open all of these topics');
}

/** Of a route without any of it a token opens nothing. */
function namedBy({ route, params }: Match, query: string): Named {
  if (route.path === routes.stream.path) return streamQuery(query);
  if (route.path === routes.listEvents.path) return { operations: [], topics: [topicOf(params['topic']!)] };
  return { operations: [params['id']], topics: [] };
}
