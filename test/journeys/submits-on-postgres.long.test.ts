// The journeys of submits and look-ups once more on PostgreSQL: the tests are the very same, since nobody but the engine may know which store it is.
import { onPostgres } from '../support/on-postgres.ts';
import { submits } from './lists.ts';

await onPostgres({ nodes: 1 }, submits);
