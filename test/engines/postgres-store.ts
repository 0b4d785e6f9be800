// A store in PostgreSQL for tests of its engine: as many engines on it as a test wants, with clocks of their own, and a session beside them
// that looks at the tables and interferes.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { Client } from 'pg';
import type {
  CallbackWanted,
  DeliveriesWanted,
  DeliverySettlement,
  LeasedDelivery,
} from '../../packages/server/src/engine/deliveries.ts';
import type {
  Engine,
  LeasedOperation,
  LeaseWanted,
  OpenedEngine,
  SettleOutcome,
  Submission,
  SubmitOutcome,
  Transition,
} from '../../packages/server/src/engine/engine.ts';
import { type PostgresOptions, postgresEngine } from '../../packages/server/src/engines/postgres/engine.ts';
import { type Clock, manualClock } from '../../packages/server/src/lib/clock.ts';
import { systemRandom } from '../../packages/server/src/lib/random.ts';
import { cleanUp } from '../support/cleanup.ts';
import { newStore, postgresMissing, query, sharedCluster } from '../support/postgres.ts';
import { messageCutter } from '../support/postgres-wire.ts';
import { tcpProxy } from '../support/tcp-proxy.ts';

const missing = postgresMissing();
/** For the options of a test. */
export const skip = missing === undefined ? false : `skipped: ${missing}`;

const random = systemRandom();
/** No poll within a test: what is found is found by what the engine has noticed. */
const never = 0x7fffffff;

export interface TestNode {
  engine: Engine;
  opened: OpenedEngine;
  clock: ReturnType<typeof manualClock>;
  close(): Promise<void>;
}

export interface TestStore {
  url: string;
  schema: string;
  /** A session whose search_path is the store's schema. */
  session(name?: string): Promise<Client>;
  /** Rows of one statement on a session that all calls share. */
  sql: <Row = Record<string, unknown>>(text: string, values?: unknown[]) => Promise<Row[]>;
  /** An open engine, closed at the end of the test. It polls only where a test says so. */
  node(options?: Omit<PostgresOptions, 'url'> & { url?: string }): Promise<TestNode>;
}

/** @param alone in a database of its own, whose statistics are of this test only */
export async function postgresStore(t: TestContext, { alone = false } = {}): Promise<TestStore> {
  const { url, schema } = alone ? await newDatabase(t) : await newStore(t);
  let shared: Client | undefined;
  const store: TestStore = {
    url,
    schema,
    async session(name = 'test') {
      const address = new URL(url);
      address.searchParams.delete('schema');
      const client = new Client({
        connectionString: address.href,
        application_name: name,
        options: `-c search_path=${schema}`,
      });
      await client.connect();
      cleanUp(t, () => client.end());
      return client;
    },
    async sql(text, values = []) {
      shared ??= await store.session();
      return (await shared.query(text, values)).rows as never;
    },
    async node(options = {}) {
      const engine = postgresEngine({ url, pollMs: never, ...options });
      let closing: Promise<void> | undefined;
      const close = (): Promise<void> => (closing ??= engine.close());
      cleanUp(t, close);
      const opened = await engine.open(0);
      return { engine, opened, clock: manualClock(opened.nowMs), close };
    },
  };
  return store;
}

async function newDatabase(t: TestContext): Promise<{ url: string; schema: string }> {
  const { url } = await sharedCluster();
  const name = `d_${random.nonce()}`;
  cleanUp(t, () => query(url(), `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
  await query(url(), `CREATE DATABASE ${name}`);
  return { url: `${url(name)}?schema=waitless`, schema: 'waitless' };
}

/** A submission to a queue, ready at once. */
export const submission = (queue: number, clock: Clock, more: Partial<Submission> = {}): Submission => ({
  queue,
  nonce: random.nonce(),
  durability: 'stored',
  head: '{"method":"POST","path":"","query":"","headers":[]}',
  body: Buffer.from('request'),
  correlationId: null,
  labels: null,
  createdAt: clock.now(),
  runAt: clock.now(),
  rank: clock.now(),
  deadlineAt: clock.now() + 600_000,
  startByAt: null,
  retentionMs: 86_400_000,
  idempotency: null,
  key: null,
  sharing: null,
  ...more,
});

/** Submits to the queue `work` of a namespace; one operation for each part given. */
export async function submit(
  { engine, clock }: TestNode,
  parts: readonly Partial<Submission>[] = [{}],
  namespace = 'default',
): Promise<SubmitOutcome[]> {
  const { id } = await engine.queue(namespace, 'work');
  return engine.submit(
    parts.map((more) => submission(more.queue ?? id, clock, more)),
    clock.now(),
  );
}

export const wanted = (more: Partial<LeaseWanted> = {}): LeaseWanted => ({
  service: 'work',
  namespace: null,
  kind: 'pull',
  worker: 'w',
  max: 10,
  maxBytes: 1e8,
  leaseMs: 30_000,
  wait: false,
  ...more,
});

export const lease = (
  { engine, clock }: Pick<TestNode, 'engine' | 'clock'>,
  more: Partial<LeaseWanted> = {},
  signal?: AbortSignal,
): Promise<LeasedOperation[]> => engine.lease(wanted(more), clock.now(), signal);

export const succeeded: Transition = {
  to: 'succeeded',
  result: { status: 200, headers: ['a', 'b'], body: Buffer.from('result'), hash: 'hash' },
};

/** The same, kept for others of its business key. */
export const kept = (freshMs: number): Transition => ({
  ...(succeeded as Extract<Transition, { to: 'succeeded' }>),
  keep: { freshMs, staleMs: 0 },
});

/** Back to the queue, to start `inMs` from now. */
export const again = ({ clock }: TestNode, inMs = 0): Transition => ({
  to: 'queued',
  runAt: clock.now() + inMs,
  rank: clock.now(),
  attemptUsed: true,
  error: { code: 'again', message: 'm' },
});

export const settle = (
  { engine, clock }: Pick<TestNode, 'engine' | 'clock'>,
  leases: readonly { seq: number; leaseNo: number }[],
  transition: Transition = succeeded,
): Promise<SettleOutcome[]> =>
  engine.settle(
    leases.map(({ seq, leaseNo }) => ({ seq, leaseNo, transition, backendStatus: 200 })),
    clock.now(),
  );

/** Wants to be told at this place. */
export const callbackTo = (place: string, more: Partial<CallbackWanted> = {}): CallbackWanted => ({
  url: `https://${place}.example/told`,
  outlet: `https://${place}.example`,
  correlationId: null,
  progress: false,
  thin: false,
  base: 'http://127.0.0.1:8080',
  ...more,
});

/** Submits so many that tell one place, and ends them; their numbers. */
export async function tell(
  node: TestNode,
  count: number,
  callback: CallbackWanted = callbackTo('shop'),
): Promise<number[]> {
  await submit(
    node,
    Array.from({ length: count }, () => ({ callback })),
  );
  const leases = await lease(node, { max: count });
  await settle(node, leases);
  return leases.map(({ seq }) => seq);
}

export const leaseDeliveries = (
  { engine, clock }: Pick<TestNode, 'engine' | 'clock'>,
  more: Partial<DeliveriesWanted> = {},
): Promise<LeasedDelivery[]> =>
  engine.leaseDeliveries({ max: 100, leaseMs: 30_000, maxInFlight: 100, ...more }, clock.now());

/** What a try has come to: delivered, unless something else is said. */
export const settlementOf = (
  { clock }: Pick<TestNode, 'clock'>,
  { number, leaseNo }: { number: number; leaseNo: number },
  more: Partial<DeliverySettlement> = {},
): DeliverySettlement => ({
  number,
  leaseNo,
  tried: { at: clock.now(), durationMs: 3, status: 204, code: null, detail: null, answer: null },
  verdict: { to: 'delivered' },
  outlet: { kind: 'well' },
  ...more,
});

export const kindsOf = (outcomes: readonly { kind: string }[]): string[] => outcomes.map(({ kind }) => kind);

/** Counters of each queue as they are kept, against those counted in the table; only where nothing is under way. */
export async function assertCountersRight({ sql }: TestStore): Promise<void> {
  const rows = await sql<Record<string, string>>(`
    SELECT q.id, c.kept, t.counted FROM queue q
    LEFT JOIN (SELECT queue, concat_ws(' ', sum(queued), sum(running), sum(succeeded), sum(failed), sum(cancelled)) AS kept FROM counter GROUP BY queue) c
      ON c.queue = q.id
    LEFT JOIN (SELECT queue, concat_ws(' ', count(*) FILTER (WHERE stage < 2), count(*) FILTER (WHERE stage = 2), count(*) FILTER (WHERE stage = 3),
      count(*) FILTER (WHERE stage = 4), count(*) FILTER (WHERE stage = 5)) AS counted FROM operation GROUP BY queue) t ON t.queue = q.id`);
  assert.ok(rows.length > 0);
  for (const { id, kept, counted } of rows) assert.equal(kept ?? '0 0 0 0 0', counted ?? '0 0 0 0 0', `queue ${id}`);
}

/** Resolves when a session of this application name waits for what `event` says, such as `advisory`. */
export async function waits({ sql }: TestStore, application: string, event: string): Promise<void> {
  for (;;) {
    const text = 'SELECT FROM pg_stat_activity WHERE application_name = $1 AND wait_event = $2';
    if ((await sql(text, [application, event])).length > 0) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** An engine whose connections can be cut. */
export async function behindCutter(t: TestContext, store: TestStore) {
  const cutter = messageCutter();
  const proxy = await tcpProxy(t, { to: Number(new URL(store.url).port), inspect: cutter.inspect });
  const url = new URL(store.url);
  url.port = String(proxy.port);
  const node = await store.node({ url: url.href, hints: false });
  /** Cuts behind the Sync of the next statement of this name: the database carries it out. */
  const cut = async (name: string): Promise<void> => {
    let bound = false;
    await cutter.cutAfter({
      matches: ({ type, body }) => {
        if (type === 'B' && body.includes(`\0${name}\0`)) bound = true;
        return bound && type === 'S';
      },
    });
  };
  return { node, cut };
}

/** What the promise brings, while time goes by and the node sweeps in each turn, as a server does. */
export async function sweepingUntil<T>({ engine, clock }: TestNode, promise: Promise<T>): Promise<T> {
  let over = false;
  const ending = promise.finally(() => (over = true));
  for (let i = 0; !over && i < 1000; i++) {
    clock.advance(500);
    await engine.sweep(clock.now(), { removeExpired: true }).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(over, 'it has come');
  return ending;
}
