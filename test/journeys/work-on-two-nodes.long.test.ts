// Every journey of backends, workers, times and stops with two nodes on one database and a balancer in front.
import { onPostgres } from '../support/on-postgres.ts';
import { work } from './lists.ts';

await onPostgres({ nodes: 2 }, work);
