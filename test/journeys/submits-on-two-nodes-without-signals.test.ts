// The journeys of submits and look-ups on two nodes that tell each other nothing: what one has written the other finds by its slow polls alone.
// Those in which somebody waits; all of them are in the long suite.
import { onPostgres } from '../support/on-postgres.ts';

await onPostgres({ nodes: 2, hints: false, pollMs: 20 }, [
  () => import('./modes.test.ts'),
  () => import('./look-up.test.ts'),
  () => import('./cancel.test.ts'),
  () => import('./stored-results.test.ts'),
  () => import('./topic-streams.test.ts'),
]);
