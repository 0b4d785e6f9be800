// The journeys of submits and look-ups once more on PostgreSQL: the tests are the very same, since nobody but the engine may know which store it is.
// All of them run on two nodes in every test run, and on one in the long suite; these are here so that one node alone is never forgotten.
import { onPostgres } from '../support/on-postgres.ts';

await onPostgres({ nodes: 1 }, [() => import('./same-id.test.ts')]);
