// The journeys of submits and look-ups on two nodes that tell each other nothing: what one has written the other finds by its slow polls alone.
import { onPostgres } from '../support/on-postgres.ts';

await onPostgres({ nodes: 2, hints: false, pollMs: 20 }, [
  () => import('./same-id.test.ts'),
  () => import('./modes.test.ts'),
  () => import('./idempotency.test.ts'),
  () => import('./look-up.test.ts'),
  () => import('./cancel.test.ts'),
  () => import('./durability.test.ts'),
  () => import('./batch.test.ts'),
  () => import('./stored-results.test.ts'),
  () => import('./pace.test.ts'),
]);
