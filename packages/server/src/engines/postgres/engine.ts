// The engine for many nodes: one PostgreSQL database behind the engine interface, written by as many processes as wanted.
import type { Engine, EngineFeatures, LeaseWanted, Signal } from '../../engine/engine.ts';
import { readAddress } from './address.ts';
import { createBatches } from './batches.ts';
import { cancelOne } from './cancel.ts';
import { Connections, type Statement } from './connections.ts';
import { Deliveries } from './deliveries.ts';
import { toCallerError } from './errors.ts';
import { listDocuments, removeDocument, saveDocument } from './documents.ts';
import { type Hint, Hints } from './hints.ts';
import { forgetIn, lookUpIn } from './keyed.ts';
import { leaseFrom } from './lease.ts';
import { forgetKnownEvents, Logs, trimTopic } from './log.ts';
import { Marks } from './marks.ts';
import { Node, slotsPerNode } from './node.ts';
import { type Opened, prepareStore } from './open.ts';
import { Queues } from './queues.ts';
import { Reach } from './reach.ts';
import { refusal } from './refusal.ts';
import { inlineBytes, Reads } from './read.ts';
import { Strays } from './strays.ts';
import { pauseSubscription, removeSubscription, saveSubscription, SubscriptionTables } from './subscriptions.ts';
import { removeEnded, sweepOnce } from './sweep.ts';
import {
  claimFrom,
  expireTaken,
  extendTaken,
  forgetDeadOf,
  leaseDueFrom,
  nextTaken,
  redriveTaken,
  settleTaken,
  voidTaken,
} from './taken.ts';
import { Takers } from './takers.ts';
import { beat, Behind, firstLook, lineNow } from './time-line.ts';
import { setPublishers } from './transitions.ts';
import { Wake } from './wake.ts';

export interface PostgresOptions {
  /** `postgres://user:password@host:port/database?schema=NAME`. */
  url: string;
  /** Runs on a database whose settings may lose what was acknowledged. */
  acceptWeakDurability?: boolean;
  /** How often those who wait for work look without a hint. */
  pollMs?: number;
  /** false: says and hears no hints; what they tell is found by the polls. */
  hints?: boolean;
}

/** The longest delay a lost hint can cause for work, against a statement per node each time. */
const usualPollMs = 1000;
/** Each connection is a process of the server: enough that statements of all kinds overlap their syncs, and three nodes stay far below the usual 100. */
const places = { writes: [0, 1, 2, 3], reads: [4, 5], control: [6, 7], memory: [8] } as const;
/** Signs of life closer together than this say nothing new. */
const beatEveryMs = 500;
/** Every so many signs of life, leases of nodes that are gone are looked for although nobody was taken out. */
const orphansEvery = 10;

const readyQueues: Statement = {
  name: 'ready-queues',
  // Ordered and limited for the planner: each queue is looked up in the index of the ready ones, also by a plan made when there were none.
  text: `SELECT q.queue FROM unnest($1::int4[]) AS q (queue) CROSS JOIN LATERAL (
      SELECT FROM operation o WHERE o.queue = q.queue AND o.stage = 0 AND o.wake_at > $2::int8 ORDER BY o.rank, o.seq LIMIT 1
    ) ready`,
};

export function postgresEngine({
  url,
  acceptWeakDurability = false,
  pollMs = usualPollMs,
  hints: useHints = true,
}: PostgresOptions): Engine {
  const features: EngineFeatures = { durable: true, shared: true, shard: 0, inlineBytes, backup: false };
  const address = readAddress(url);
  const listeners: ((signal: Signal) => void)[] = [];
  const signal = (s: Signal): void => listeners.forEach((listener) => listener(s));
  const slotOf = (place: number): number => node.id * slotsPerNode + place;
  const reach = new Reach();
  const connect = (of: readonly number[], options = ''): Connections =>
    new Connections({
      config: { ...address.config, options: `${String(address.config.options)}${options}` },
      places: of,
      slotOf,
      reach,
    });
  const writes = connect(places.writes);
  const reading = connect(places.reads);
  const control = connect(places.control);
  const memory = connect(places.memory, ' -c synchronous_commit=off');
  const queues = new Queues(reading);
  const node = new Node({ queues, control });
  const reads = new Reads({ connections: reading, queues });
  const logs = new Logs(reading);
  const subscriptions = new SubscriptionTables({ reading, epoch: () => opened!.epoch });
  const strays = new Strays({ control, node });
  const marks = new Marks();
  const behind = new Behind();
  const wake = new Wake(() => signal({ kind: 'due' }));
  let nowMs = 0;
  let opened: Opened | undefined;
  let hints: Hints | undefined;
  let poll: NodeJS.Timeout | undefined;
  let beatAt = Number.NEGATIVE_INFINITY;
  let beats = 0;

  const at = (ms: number): number => (nowMs = Math.max(nowMs, ms));

  /** Says that there is work, here and on other nodes. */
  function madeReady(ids: Iterable<number>): void {
    const list = [...ids];
    takers.madeReady(list);
    hints?.queues(list);
    moved(list);
  }

  /** Operations of these queues have changed their state: where that is published, a log has grown. */
  function moved(ids: Iterable<number>): void {
    const namespaces = queues.publishing(ids);
    if (namespaces.size > 0) appended(namespaces);
  }

  function appended(namespaces: ReadonlySet<string>): void {
    for (const namespace of namespaces) signal({ kind: 'events', namespace });
    hints?.logs(namespaces);
  }

  const changed = (seqs: Iterable<number>): void => hints?.changed(seqs);
  const ended = (seqs: Iterable<number>): void => hints?.ended(seqs);
  const deliveries = new Deliveries({
    writes,
    reading,
    control,
    node,
    now: () => nowMs,
    signal: () => signal({ kind: 'deliveries' }),
    hint: () => hints?.deliveries(),
  });

  const lease = (of: readonly number[], wanted: LeaseWanted): ReturnType<typeof leaseFrom> =>
    writes.use(async (connection) => {
      const now = at(wanted.now?.() ?? nowMs);
      const filled = await strays.watch(
        { atMs: now, leaseMs: [wanted.leaseMs] },
        () => leaseFrom(queues.inTurn(wanted.service, of), wanted, { connection, nodeId: node.id, nowMs: now }),
        ({ leases, lost }) => ({ seqs: leases.map(({ seq }) => seq), lost }),
      );
      for (const { seq, leaseUntil } of filled.leases) {
        wake.at(leaseUntil, nowMs);
        changed([seq]);
      }
      moved(filled.leases.map(({ queue }) => queue));
      return filled;
    });

  const takers = new Takers({ queues, fill: (of, taker) => lease(of, taker.wanted) });

  const { submits, settles, extensions, decisions, appends } = createBatches({
    writes,
    control,
    memory,
    reading,
    node,
    queues,
    takers,
    strays,
    wake,
    now: () => nowMs,
    madeReady,
    changed,
    ended,
    told: deliveries.told,
    moved,
    appended,
  });

  /** Errors of single statements, as callers know them. */
  async function asked<T>(work: Promise<T>, { sent = false } = {}): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw toCallerError(error, { sent });
    }
  }

  function tellDocuments(): void {
    signal({ kind: 'documents' });
    hints?.documents();
  }

  function tellSubscriptions(): void {
    signal({ kind: 'subscriptions' });
    hints?.subscriptions();
  }

  async function onHint(hint: Hint): Promise<void> {
    for (const seq of hint.ended) signal({ kind: 'operation', seq, done: true });
    for (const seq of hint.changed) signal({ kind: 'operation', seq, done: false });
    for (const namespace of hint.logs) signal({ kind: 'events', namespace });
    if (hint.documents) signal({ kind: 'documents' });
    if (hint.deliveries) signal({ kind: 'deliveries' });
    if (hint.subscriptions) {
      signal({ kind: 'subscriptions' });
      await queues.lookWhichPublish();
    }
    if (hint.queues.length === 0) return;
    await queues.learn(hint.queues);
    takers.madeReady(hint.queues);
  }

  /** Looks for work that no hint told of. */
  async function lookForWork(): Promise<void> {
    await Promise.all([queues.refresh(), queues.lookWhichPublish()]);
    const ids = takers.services.flatMap((service) => queues.of(service, null));
    if (ids.length === 0) return;
    const rows = await reading.run(readyQueues, [ids, nowMs]);
    takers.madeReady(rows.map(([id]) => id as number));
  }

  /** Leases of nodes that are gone: their operations are ready again, and their deliveries wait. */
  async function collectOrphans(): Promise<number> {
    const count = await makeReadyAgain(await node.voidOrphans(nowMs));
    await deliveries.takeBackOfGone();
    if ((await control.use((connection) => voidTaken(connection, nowMs))) > 0) tellSubscriptions();
    return count;
  }

  async function makeReadyAgain(readied: ReadonlyMap<number, number>): Promise<number> {
    await queues.learn(readied.keys());
    if (readied.size > 0) madeReady(readied.keys());
    return [...readied.values()].reduce((sum, n) => sum + n, 0);
  }

  /** Says that this node lives, and hears who does not. */
  async function giveSign(): Promise<void> {
    if (nowMs - beatAt < beatEveryMs) return;
    const now = nowMs;
    const [row] = await control.run(beat, [now, node.id]);
    const [ageMs, lastMs, listed, count, dead] = row as [number, number, boolean, number, number];
    beatAt = now;
    if (hints) hints.company = count > 1;
    const ahead = behind.measure({ lastMs, ageMs, nowMs: now });
    if (ahead > 0) signal({ kind: 'time', nowMs: now + ahead });
    // The others took this process for dead: what it carried is theirs, and it comes back as a new node.
    if (!listed) await node.join();
    if (dead > 0 || !listed || ++beats % orphansEvery === 0) await collectOrphans();
    await makeReadyAgain(await strays.collect(now));
  }

  async function shut(): Promise<void> {
    clearInterval(poll);
    wake.stop();
    deliveries.stop();
    takers.close();
    await hints?.stop();
    await Promise.all([writes, reading, control, memory].map((connections) => connections.close()));
  }

  return {
    name: 'postgres',
    features,
    async open() {
      try {
        opened = await prepareStore(address, { acceptWeakDurability });
        const [row] = await asked(control.run(firstLook, []));
        const lookedAt = performance.now();
        const [lastMs, ageMs, wallMs] = row as [number, number, number];
        // The caller's own clock may be hours off: all nodes go by the store's.
        at(lineNow({ lastMs, ageMs, wallMs }));
        await node.join();
        await Promise.all([queues.refresh(), queues.lookWhichPublish()]);
        if (useHints) {
          const channel = `waitless ${address.schema}`;
          hints = new Hints({
            config: address.config,
            channel,
            sender: `${node.id}`,
            onHint: (hint) => void onHint(hint).catch(() => {}),
            isReady: (queue) => takers.isReady(queue),
            hasDeliveries: () => deliveries.untaken,
          });
          await hints.start();
        }
        const requeued = await collectOrphans();
        poll = setInterval(() => void lookForWork().catch(() => {}), pollMs);
        return {
          storeKey: opened.storeKey,
          // Without what the rest of the start took this node would be behind the others by it.
          nowMs: at(nowMs + Math.floor(performance.now() - lookedAt)),
          lastTimeMs: lastMs,
          requeued,
          warnings: opened.warnings,
        };
      } catch (error) {
        // Nothing stays open after a start that failed: a session would keep the process alive.
        await shut();
        throw refusal(error, address, 'preparing');
      }
    },
    async close() {
      if (opened) {
        // It lived until now: what comes after is a time without it.
        beatAt = Number.NEGATIVE_INFINITY;
        await giveSign().catch(() => {});
        const readied = await node.leave(nowMs).catch(() => new Map<number, number>());
        madeReady(readied.keys());
        await deliveries.takeBackOfGone().catch(() => {});
        await control.use((connection) => voidTaken(connection, nowMs)).catch(() => 0);
      }
      await shut();
    },
    async health() {
      await asked(reading.run({ name: 'health', text: 'SELECT 1' }, []));
      return { detail: opened?.detail ?? 'PostgreSQL' };
    },
    queue: (namespace, service) => asked(queues.number(namespace, service)),
    queueById: (id) => asked(queues.find(id)),
    submit(batch, now) {
      at(now);
      return submits.call(batch);
    },
    async lease(wanted, now, abort) {
      at(now);
      if (wanted.wait) return takers.wait(wanted, abort);
      const { service, namespace } = wanted;
      const ids = [...queues.of(service, namespace)];
      const { leases } = await asked(lease(ids, wanted), { sent: true });
      if (leases.length > 0) return leases;
      // Another node may have made a queue that nobody here has heard of, and what was submitted there before this call is to be found.
      await asked(queues.refresh());
      const others = queues.of(service, namespace).filter((id) => !ids.includes(id));
      return others.length === 0 ? leases : (await asked(lease(others, wanted), { sent: true })).leases;
    },
    async extend(extension, now) {
      at(now);
      const [outcome] = await extensions.call([extension]);
      if (outcome!.kind === 'refused') throw outcome!.error;
      return outcome!;
    },
    settle(batch, now) {
      at(now);
      return settles.call(batch);
    },
    async cancel(key, now) {
      at(now);
      const before = await asked(reads.operation(key));
      if (!before) return { kind: 'unknown' };
      const cancelled = await asked(
        control.use((connection) => cancelOne(connection, { seq: key.seq, nowMs })),
        { sent: true },
      );
      const operation = (await asked(reads.operation(key))) ?? before;
      if (!cancelled) return { kind: 'ended', operation };
      ended([key.seq]);
      moved([operation.queue]);
      if (cancelled.tells) deliveries.told();
      if (cancelled.next.readied.size > 0) madeReady(cancelled.next.readied);
      for (const ms of cancelled.next.dueAt) wake.at(ms, nowMs);
      return { kind: 'cancelled', operation, leaseNo: cancelled.leaseNo };
    },
    async purge(key) {
      const record = await asked(reads.operation(key));
      if (!record || record.finishedAt === null) return false;
      return asked(
        control.use((connection) => removeEnded(connection, { seq: key.seq, nowMs })),
        { sent: true },
      );
    },
    operation: (key) => asked(reads.operation(key)),
    recordsOf: (seqs) => asked(reads.recordsOf(seqs)),
    result: (seq) => asked(reads.result(seq)),
    request: (seq) => asked(reads.request(seq)),
    async lookUp(key, now) {
      return asked(lookUpIn(reading, reads, key, at(now)));
    },
    forget: (key) => asked(forgetIn(control, key), { sent: true }),
    async *readBody(seq, of) {
      try {
        yield* reads.body(seq, of);
      } catch (error) {
        throw toCallerError(error, { sent: false });
      }
    },
    operations: (filter) => asked(reads.operations(filter)),
    timeline: (seq, wanted) => asked(reads.timeline(seq, wanted)),
    counts: (of) => asked(reads.counts(of)),
    ahead: (seq, limit) => asked(reads.ahead(seq, limit)),
    async sweep(now, { removeExpired }) {
      // How long this process stood still says nothing where others may have lived: the common time line knows.
      at(now);
      return asked(
        (async () => {
          await giveSign();
          const swept = await marks.sweep(nowMs, () =>
            control.use((connection) => sweepOnce(connection, { nowMs, removing: removeExpired, marks })),
          );
          await queues.learn(swept.readied.keys());
          if (swept.readied.size > 0) madeReady(swept.readied.keys());
          if (swept.nextAt !== undefined) wake.at(swept.nextAt, nowMs);
          const acted = swept.due.length + swept.polls.length + swept.readied.size > 0;
          await deliveries.sweep().catch((error: unknown) => {
            // What was found is decided all the same; the next sweep tries again.
            if (!acted) throw error;
          });
          const taken = await control
            .use(async (connection) => {
              const { expired, more } = await expireTaken(connection, nowMs);
              const moreKnown = removeExpired && (await forgetKnownEvents(connection, nowMs));
              return { expired, more: more || moreKnown, nextAt: await nextTaken(connection, nowMs) };
            })
            .catch((error: unknown) => {
              if (!acted) throw error;
              return { expired: 0, more: false, nextAt: undefined };
            });
          if (taken.expired > 0) tellSubscriptions();
          if (taken.nextAt !== undefined) wake.at(taken.nextAt, nowMs);
          const promoted = [...swept.readied.values()].reduce((sum, n) => sum + n, 0);
          return {
            due: swept.due,
            polls: swept.polls,
            promoted,
            removed: swept.removed,
            more: swept.more || taken.more,
          };
        })(),
        { sent: true },
      );
    },
    applyClock(batch, now) {
      at(now);
      return decisions.call(batch);
    },
    ...deliveries.calls(at, asked),
    append(batch, now) {
      at(now);
      return appends.call(batch);
    },
    read: async (wanted) => ({ epoch: opened!.epoch, ...(await asked(logs.read(wanted))) }),
    topics: (namespace) => asked(logs.topics(namespace)),
    async trim(trim, now) {
      at(now);
      return asked(
        control.use((connection) => trimTopic(connection, trim)),
        { sent: true },
      );
    },
    async saveSubscription(document, from) {
      at(document.savedAt);
      const { isNew, isDecided } = await asked(
        control.use((connection) => saveSubscription(connection, document, from)),
        { sent: true },
      );
      if (isDecided) await asked(queues.lookWhichPublish());
      tellSubscriptions();
      const subscription = await asked(subscriptions.get(document));
      if (!subscription) throw new Error('the subscription was removed at once');
      return { kind: isNew ? 'made' : 'changed', subscription };
    },
    async removeSubscription(key) {
      const removed = await asked(
        control.use((connection) => removeSubscription(connection, key)),
        { sent: true },
      );
      if (removed) tellSubscriptions();
      return removed;
    },
    async publishTransitions(wanted) {
      await asked(
        control.use((connection) => setPublishers(connection, wanted)),
        { sent: true },
      );
      await asked(queues.lookWhichPublish());
    },
    async pauseSubscription(key, paused) {
      await asked(
        control.use((connection) => pauseSubscription(connection, key, paused)),
        { sent: true },
      );
      tellSubscriptions();
      return asked(subscriptions.get(key));
    },
    subscriptions: (namespace) => asked(subscriptions.list(namespace)),
    subscription: (key) => asked(subscriptions.get(key)),
    claim(claim, now) {
      at(now);
      return asked(
        writes.use((connection) => claimFrom(claim, { connection, nowMs, nodeId: node.id })),
        { sent: true },
      );
    },
    leaseDue(wanted, now) {
      at(now);
      return asked(
        writes.use((connection) => leaseDueFrom(wanted, { connection, nowMs, nodeId: node.id })),
        { sent: true },
      );
    },
    extendEvent(lease, now) {
      at(now);
      return asked(
        writes.use((connection) => extendTaken(lease, { connection, nowMs })),
        { sent: true },
      );
    },
    async settleEvents(batch, now) {
      at(now);
      const { outcomes, freed } = await asked(
        writes.use((connection) => settleTaken(batch, { connection, nowMs })),
        { sent: true },
      );
      const again = batch.filter((_, i) => outcomes[i]!.kind === 'recorded').map(({ verdict }) => verdict);
      const waiting = again.filter((verdict) => verdict.to === 'waiting').map((verdict) => verdict.at);
      if (freed || waiting.some((ms) => ms <= nowMs)) tellSubscriptions();
      for (const ms of waiting) if (ms > nowMs) wake.at(ms, nowMs);
      return outcomes;
    },
    openEvents: (filter) => asked(subscriptions.open(filter)),
    async redriveEvents(of, now) {
      at(now);
      const count = await asked(
        control.use((connection) => redriveTaken(of, { connection, nowMs })),
        { sent: true },
      );
      if (count > 0) tellSubscriptions();
      return count;
    },
    forgetDead: (of) =>
      asked(
        control.use((connection) => forgetDeadOf(of, connection)),
        { sent: true },
      ),
    async save(document) {
      await asked(saveDocument(control, document), { sent: true });
      tellDocuments();
    },
    async remove(document) {
      const removed = await asked(removeDocument(control, document), { sent: true });
      if (removed) tellDocuments();
      return removed;
    },
    list: (kind) => asked(listDocuments(reading, kind)),
    onSignal: (listener) => void listeners.push(listener),
  };
}
