// kill -9 of one of two nodes on a PostgreSQL store while the load goes on against the other: nothing acknowledged is lost, and the work that
// died with a node is done by those that live.
import { onPostgres } from '../support/on-postgres.ts';

await onPostgres({ nodes: 2 }, [
  () => import('./postgres-kill-load.ts'),
  () => import('./kill-work.test.ts'),
  () => import('./fencing.test.ts'),
]);
