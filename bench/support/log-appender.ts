// A node that only appends to a log: callers in a closed loop, whose events go to the database in batches of as many as have gathered meanwhile.
import { Client } from 'pg';
import { byteaArray, textArray } from '../../packages/server/src/engines/postgres/arrays.ts';
import type { AppendAnswer, AppendHow, AppendJob, AppendResult } from './log-job.ts';
import { requestBody } from './payload.ts';

const namespace = 'default';
const topic = 'orders.created';
const head = '{"content-type":"application/json"}';
const body = Buffer.from(requestBody, 'latin1');

/** Batches of a process under way at once: while one waits for its sync, the next is on its way. */
const parallel = 2;
const events =
  'unnest($3::text[], $4::text[], $5::bytea[]) WITH ORDINALITY AS e (topic, head, body, n), (SELECT $1::int4 AS log, $2::int8 AS at) AS given';
const columns = '(log, position, appended_at, topic, head, body)';
const statements: Readonly<Record<Exclude<AppendHow, 'engine'>, string>> = {
  counter: `WITH counted AS (UPDATE bench.log SET last = last + cardinality($3::text[]) WHERE id = $1::int4 RETURNING last - cardinality($3::text[]) AS before)
    INSERT INTO bench.counter ${columns} SELECT log, before + n, at, topic, head, body FROM counted, ${events} RETURNING position`,
  sequence: `INSERT INTO bench.sequence ${columns} SELECT log, nextval('bench.position'), at, topic, head, body FROM ${events} RETURNING position`,
};

interface Log {
  /** Resolves when the event is durable. */
  append(): Promise<void>;
  batches(): number;
  close(): Promise<void>;
}

/** One statement per batch, each with its own commit. */
async function openComparison(url: string, how: Exclude<AppendHow, 'engine'>): Promise<Log> {
  const idle: Client[] = [];
  for (let i = 0; i < parallel; i++) {
    const client = new Client({ connectionString: url });
    await client.connect();
    idle.push(client);
  }
  const all = [...idle];
  let gathered: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  let batches = 0;
  let scheduled = false;

  function schedule(): void {
    if (scheduled) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      const client = gathered.length > 0 ? idle.pop() : undefined;
      if (client) void send(client);
    });
  }

  async function send(client: Client): Promise<void> {
    const batch = gathered;
    gathered = [];
    batches++;
    const values = [
      1,
      Date.now(),
      textArray(batch.map(() => topic)),
      textArray(batch.map(() => head)),
      byteaArray(batch.map(() => body)),
    ];
    try {
      const { rows } = await client.query({ name: how, text: statements[how], values, rowMode: 'array' });
      if (rows.length !== batch.length) throw new Error(`${rows.length} of ${batch.length} events were written`);
      for (const { resolve } of batch) resolve();
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
    idle.push(client);
    schedule();
  }

  return {
    append: () =>
      new Promise((resolve, reject) => {
        gathered.push({ resolve, reject });
        schedule();
      }),
    batches: () => batches,
    close: async () => void (await Promise.all(all.map((client) => client.end()))),
  };
}

async function openEngine(url: string): Promise<Log> {
  const { postgresEngine } = await import('../../packages/server/src/engines/postgres/engine.ts');
  const engine = postgresEngine({ url });
  const startedAt = performance.now();
  const { nowMs } = await engine.open(Date.now());
  return {
    async append() {
      const now = Math.floor(nowMs + performance.now() - startedAt);
      const [outcome] = await engine.append(
        [{ namespace, topic, head, body, durability: 'stored', orderingKey: null, identity: null, knownUntil: 0 }],
        now,
      );
      if (outcome?.kind !== 'appended') throw new Error(`not appended: ${outcome?.kind}`);
    },
    batches: () => Number.NaN,
    close: () => engine.close(),
  };
}

async function run({ url, how, callers, seconds }: AppendJob): Promise<AppendResult> {
  const log = how === 'engine' ? await openEngine(url) : await openComparison(url, how);
  const latenciesMs: number[] = [];
  let inTime = 0;
  try {
    const endsAt = performance.now() + seconds * 1000;
    const caller = async (): Promise<void> => {
      for (let sentAt = performance.now(); sentAt < endsAt;) {
        await log.append();
        const now = performance.now();
        latenciesMs.push(now - sentAt);
        if (now <= endsAt) inTime++;
        sentAt = now;
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
  } finally {
    await log.close();
  }
  return {
    appended: latenciesMs.length,
    perSecond: inTime / seconds,
    batches: log.batches(),
    latenciesMs: Float64Array.from(latenciesMs),
  };
}

process.on('message', (job: AppendJob) => {
  run(job).then(
    (result) => process.send!({ result } satisfies AppendAnswer),
    (error: Error) => process.send!({ error: error.stack ?? error.message } satisfies AppendAnswer),
  );
});
process.on('disconnect', () => process.exit(0));
process.send!('ready');
