// What belongs to one connection: its watches, of operations and of topics, and its workers.
import type { Connection } from './connection.ts';
import type { TopicWatches } from './topic-watches.ts';
import type { Watches } from './watches.ts';
import type { Workers } from './workers.ts';

export interface Session {
  connection: Connection;
  watches: Watches;
  topics: TopicWatches;
  workers: Workers;
}
