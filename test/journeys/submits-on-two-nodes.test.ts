// The journeys of submits and look-ups once more with two nodes on one database and a balancer in front: every exchange goes to the other node, so a
// submit, a wait for it, its lease, its reply and its result are each another node's.
import { onPostgres } from '../support/on-postgres.ts';

await onPostgres({ nodes: 2 }, [
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
  () => import('./results-by-key.test.ts'),
  () => import('./pace.test.ts'),
  () => import('./callback-secrets.test.ts'),
  () => import('./tokens.test.ts'),
]);
