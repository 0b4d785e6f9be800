// The journeys of submits and look-ups once more with two nodes on one database and a balancer in front: every exchange goes to the other node, so a
// submit, a wait for it, its lease, its reply and its result are each another node's. All of them run so in the long suite.
import { onPostgres } from '../support/on-postgres.ts';
import { submitsOfNodes } from './lists.ts';

await onPostgres({ nodes: 2 }, submitsOfNodes);
