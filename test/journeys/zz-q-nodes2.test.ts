// Temporary.
import { onPostgres } from '../support/on-postgres.ts';
await onPostgres({ nodes: 2 }, [() => import('./pace.test.ts')]);
