// Asking an appending process for a run: what it is told, what it answers, and the tables of the comparison.
import type { Bench } from './bench.ts';
import { firstMessage } from './children.ts';

/**
 * Where positions come from. `counter`: a row per namespace, held until the commit, so that nobody sees a position before all smaller ones;
 * `sequence`: a plain sequence, which nobody waits for and whose order says nothing to a reader; `engine`: the store's own log.
 */
export const appendHows = ['engine', 'counter', 'sequence'] as const;
export type AppendHow = (typeof appendHows)[number];

export interface AppendJob {
  url: string;
  how: AppendHow;
  /** Each appends its next event when the last one is durable. */
  callers: number;
  seconds: number;
}

export interface AppendResult {
  appended: number;
  /** Within the time. */
  perSecond: number;
  batches: number;
  latenciesMs: Float64Array;
}

export type AppendAnswer = { result: AppendResult } | { error: string };

/** The same columns as the store's log, once for each way to number them. */
export const comparisonTables = [
  'CREATE SCHEMA bench',
  'CREATE TABLE bench.log (id integer PRIMARY KEY, last bigint NOT NULL) WITH (fillfactor = 10)',
  'INSERT INTO bench.log VALUES (1, 0)',
  'CREATE SEQUENCE bench.position',
  ...(['counter', 'sequence'] as const).flatMap((how) => [
    `CREATE TABLE bench.${how} (log integer NOT NULL, position bigint NOT NULL, appended_at bigint NOT NULL, topic text NOT NULL,
       head text NOT NULL, body bytea NOT NULL, PRIMARY KEY (log, position))`,
    `ALTER TABLE bench.${how} ALTER COLUMN body SET STORAGE EXTERNAL`,
  ]),
];

export interface Appender {
  pid: number;
  run(job: AppendJob): Promise<AppendResult>;
  stop(): Promise<void>;
}

export async function startAppender(bench: Bench): Promise<Appender> {
  const child = bench.children.fork('./log-appender.ts');
  const name = 'the appending process';
  await firstMessage(child, name);
  return {
    pid: child.pid,
    stop: () => child.stop(),
    async run(job) {
      const answer = firstMessage<AppendAnswer>(child, name);
      child.process.send(job);
      const received = await answer;
      if ('error' in received) throw new Error(`${name}: ${received.error}`);
      return received.result;
    },
  };
}
