// The journeys of submits and look-ups once more on PostgreSQL: the tests are the very same, since nobody but the engine may know which store it is.
import { onPostgres } from '../support/on-postgres.ts';

await onPostgres({ nodes: 1 }, [
  () => import('./same-id.test.ts'),
  () => import('./modes.test.ts'),
  () => import('./idempotency.test.ts'),
  () => import('./look-up.test.ts'),
  () => import('./results.test.ts'),
  () => import('./cancel.test.ts'),
  () => import('./durability.test.ts'),
  () => import('./isolation.test.ts'),
  () => import('./batch.test.ts'),
  () => import('./acknowledgement.test.ts'),
  () => import('./stored-results.test.ts'),
  () => import('./pace.test.ts'),
  () => import('./callback-secrets.test.ts'),
  () => import('./tokens.test.ts'),
]);
