// The journeys of submits and look-ups on two nodes that tell each other nothing: what one has written the other finds by its slow polls alone.
// Some of those in which somebody waits; others run so on one node in each test run, and all of them in the long suite.
import { onPostgres } from '../support/on-postgres.ts';

await onPostgres({ nodes: 2, hints: false, pollMs: 20 }, [
  () => import('./modes.test.ts'),
  () => import('./topic-streams.test.ts'),
]);
