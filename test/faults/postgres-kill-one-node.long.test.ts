// kill -9 of the only node on a PostgreSQL store: the next one finds what was acknowledged, and the work that died with it.
import { onPostgres } from '../support/on-postgres.ts';

await onPostgres({ nodes: 1 }, [
  () => import('./postgres-kill-load.ts'),
  () => import('./kill-work.test.ts'),
  () => import('./fencing.test.ts'),
]);
