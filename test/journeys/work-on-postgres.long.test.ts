// The journeys of backends, workers, times and stops once more on PostgreSQL: the tests are the very same, since nobody but the engine may know
// which store it is.
import { onPostgres } from '../support/on-postgres.ts';
import { work } from './lists.ts';

await onPostgres({ nodes: 1 }, work);
