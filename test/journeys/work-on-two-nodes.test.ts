// The journeys of backends, workers, times and stops once more with two nodes on one database and a balancer in front: a lease of one node is answered
// at the other, and a restart is one of both in turn. All of them run so in the long suite.
import { onPostgres } from '../support/on-postgres.ts';
import { workOfNodes } from './lists.ts';

await onPostgres({ nodes: 2 }, workOfNodes);
