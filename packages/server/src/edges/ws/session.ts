// What belongs to one connection: its watches and its workers.
import type { Connection } from './connection.ts';
import type { Watches } from './watches.ts';
import type { Workers } from './workers.ts';

export interface Session {
  connection: Connection;
  watches: Watches;
  workers: Workers;
}
