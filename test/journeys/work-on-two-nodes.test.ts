// The journeys of backends, workers, times and stops once more with two nodes on one database and a balancer in front: a lease of one node is answered
// at the other, and a restart is one of both in turn.
import { onPostgres } from '../support/on-postgres.ts';
import { work } from './lists.ts';

await onPostgres({ nodes: 2 }, work);
