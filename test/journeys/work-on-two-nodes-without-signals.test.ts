// The journeys of backends, workers and times on two nodes that tell each other nothing: what one has written the other finds by its slow polls alone.
// Those in which somebody waits; all of them are in the long suite.
import { onPostgres } from '../support/on-postgres.ts';

await onPostgres({ nodes: 2, hints: false, pollMs: 20 }, [
  () => import('./later.test.ts'),
  () => import('./pull-workers.test.ts'),
  () => import('./operation-events.test.ts'),
  () => import('./told.test.ts'),
  () => import('./subscriptions.test.ts'),
]);
