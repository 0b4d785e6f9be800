// Every journey of submits and look-ups with two nodes on one database and a balancer in front.
import { onPostgres } from '../support/on-postgres.ts';
import { submits } from './lists.ts';

await onPostgres({ nodes: 2 }, submits);
