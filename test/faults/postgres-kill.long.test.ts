// kill -9 of one of two nodes on a PostgreSQL store, as often as it takes to say something about the rate: no failure in n kills bounds it at 3/n.
import { onPostgres } from '../support/on-postgres.ts';

await onPostgres({ nodes: 2 }, [() => import('./kill.long.test.ts')]);
