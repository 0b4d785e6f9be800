// Subscriptions in the file: their documents, their cursors and what was taken from the log.
import type {
  Claim,
  ClaimOutcome,
  DueWanted,
  EventSettlement,
  EventSettleOutcome,
  LeasedEvent,
  OpenEvent,
  OpenFilter,
  StartFrom,
  SubscriptionDocument,
  SubscriptionRecord,
} from '../../engine/subscriptions.ts';
import type { EventRow } from './log-wire.ts';
import type { LogStatements } from './log.ts';
import type { Store } from './store.ts';

export const takenStates = { waiting: 0, sending: 1, held: 2, dead: 3 } as const;
const stateNames = ['waiting', 'sending', 'held', 'dead'] as const;
const kinds = { push: 1, pull: 2 } as const;
/** Rows whose lease ran out, looked at in one go. */
const sweepRows = 500;

interface SubscriptionRow {
  id: number;
  namespace: string;
  name: string;
  text: string;
  topics: string;
  saved_at: number;
  created_at: number;
  version: number;
  paused: number;
  read_to: number;
  failures: number;
  blocked_until: number | null;
}

interface TakenRow {
  position: number;
  state: number;
  at: number;
  attempt: number;
  lease_no: number;
  lease_until: number | null;
  taken_at: number;
  worker: string | null;
  ordering: string | null;
  code: string | null;
  detail: string | null;
}

type Key = { namespace: string; name: string };

export interface SubscriptionStatements {
  save(document: SubscriptionDocument, from: StartFrom): { kind: 'made' | 'changed'; subscription: SubscriptionRecord };
  /** The record of one that was saved just now. `fromNow`: what the saving itself has written is not for it. */
  begin(key: Key, fromNow: boolean): SubscriptionRecord;
  remove(key: Key): boolean;
  pause(key: Key, paused: boolean): SubscriptionRecord | undefined;
  list(namespace: string | undefined): SubscriptionRecord[];
  get(key: Key): SubscriptionRecord | undefined;
  claim(claim: Claim): ClaimOutcome;
  leaseDue(wanted: DueWanted): { lease: LeasedEvent; event: EventRow }[];
  extend(
    lease: Pick<LeasedEvent, 'subscription' | 'position' | 'leaseNo'> & { leaseMs: number },
  ): { kind: 'extended'; leaseUntil: number } | { kind: 'lost' } | { kind: 'gone' };
  settle(settlement: EventSettlement): EventSettleOutcome;
  open(filter: OpenFilter): OpenEvent[];
  redrive(of: { subscription: number; positions?: readonly number[]; limit: number }): number;
  forgetDead(of: { subscription: number; positions?: readonly number[]; limit: number }): number;
  /** At start: what this process was carrying is taken again. */
  voidPushed(): void;
  /** What is held longer than its lease is taken again; true when there is more. */
  sweep(): boolean;
  /** When the clock has something to say next. */
  next(): number | undefined;
  /** Whether something of a subscription has become due in this group: news for those who take. Asked once. */
  committed(): boolean;
}

export function subscriptionStatements(store: Store, log: LogStatements): SubscriptionStatements {
  const { db } = store;
  const insert = db.prepare(
    'INSERT INTO subscription (namespace, name, text, topics, saved_at, created_at, read_to) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const change = db.prepare(
    'UPDATE subscription SET text = ?, topics = ?, saved_at = ?, version = version + 1, failures = 0, blocked_until = NULL WHERE id = ?',
  );
  const byName = db.prepare<[string, string], SubscriptionRow>(
    'SELECT * FROM subscription WHERE namespace = +? AND name = +?',
  );
  const byId = db.prepare<[number], SubscriptionRow>('SELECT * FROM subscription WHERE id = +?');
  const all = db.prepare<[], SubscriptionRow>('SELECT * FROM subscription ORDER BY namespace, name');
  const ofNamespace = db.prepare<[string], SubscriptionRow>(
    'SELECT * FROM subscription WHERE namespace = +? ORDER BY name',
  );
  const setPaused = db.prepare(
    'UPDATE subscription SET paused = ?, version = version + 1, failures = 0, blocked_until = NULL WHERE id = ?',
  );
  const drops = [
    'DELETE FROM dead_event WHERE subscription = ?',
    'DELETE FROM taken WHERE subscription = ?',
    'DELETE FROM subscription WHERE id = ?',
  ].map((text) => db.prepare(text));
  const states = db.prepare<[number], { state: number; n: number; oldest: number }>(
    'SELECT state, count(*) AS n, min(position) AS oldest FROM taken WHERE subscription = +? GROUP BY state',
  );
  const takenAt = db
    .prepare<[number, number], number>('SELECT taken_at FROM taken WHERE subscription = +? AND position = +?')
    .pluck();
  const moveCursor = db.prepare('UPDATE subscription SET read_to = ? WHERE id = ? AND read_to = ?');
  const take = db.prepare(
    'INSERT INTO taken (subscription, position, state, at, attempt, lease_no, kind, lease_until, taken_at, worker, ordering) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
  );
  const keyIsOut = db
    .prepare<[number, string], number>(
      'SELECT 1 FROM taken INDEXED BY taken_ordering WHERE subscription = +? AND ordering = +? AND state < 3 LIMIT 1',
    )
    .pluck();
  const dueRows = db.prepare<[number, number, number], TakenRow>(
    'SELECT * FROM taken INDEXED BY taken_waiting WHERE subscription = +? AND state = 0 AND at <= +? ORDER BY at, position LIMIT +?',
  );
  const lease = db.prepare(
    'UPDATE taken SET state = 1, attempt = attempt + 1, lease_no = lease_no + 1, kind = ?, lease_until = ?, worker = ? WHERE subscription = ? AND position = ?',
  );
  const row = db.prepare<[number, number], TakenRow>('SELECT * FROM taken WHERE subscription = +? AND position = +?');
  const drop = db.prepare('DELETE FROM taken WHERE subscription = ? AND position = ?');
  const setState = db.prepare(
    'UPDATE taken SET state = ?, at = ?, attempt = ?, kind = NULL, lease_until = NULL, code = ?, detail = ? WHERE subscription = ? AND position = ?',
  );
  const keep = db.prepare('UPDATE taken SET lease_until = max(lease_until, ?) WHERE subscription = ? AND position = ?');
  const nextOfKey = db
    .prepare<[number, string], number>(
      'SELECT position FROM taken INDEXED BY taken_ordering WHERE subscription = +? AND ordering = +? AND state < 3 AND state = 2 ORDER BY position LIMIT 1',
    )
    .pluck();
  const release = db.prepare('UPDATE taken SET state = 0, at = ? WHERE subscription = ? AND position = ?');
  const well = db.prepare(
    'UPDATE subscription SET failures = 0, blocked_until = NULL WHERE id = ? AND (failures > 0 OR blocked_until IS NOT NULL)',
  );
  const ill = db.prepare(
    'UPDATE subscription SET failures = failures + 1, blocked_until = CASE WHEN failures + 1 >= ? THEN ? ELSE blocked_until END WHERE id = ?',
  );
  const bury = db.prepare(
    'INSERT OR REPLACE INTO dead_event (subscription, position, topic, ordering, head, appended_at, body) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const unbury = db.prepare('DELETE FROM dead_event WHERE subscription = ? AND position = ?');
  const buried = db.prepare<[number, number], EventRow>(
    'SELECT position, topic, head, appended_at AS appendedAt, ordering AS orderingKey, body FROM dead_event WHERE subscription = +? AND position = +?',
  );
  const openRows = db.prepare<[number, string, number, number], TakenRow>(
    'SELECT * FROM taken WHERE subscription = +? AND state IN (SELECT value FROM json_each(?)) AND position > +? ORDER BY position LIMIT +?',
  );
  const voidRows = db.prepare(
    "UPDATE taken SET state = 0, at = ?, kind = NULL, lease_until = NULL, code = 'interrupted' WHERE state = 1 AND kind = 1",
  );
  const expired = db.prepare<[number, number], TakenRow & { subscription: number }>(
    'SELECT * FROM taken INDEXED BY taken_sending WHERE state = 1 AND lease_until <= +? ORDER BY lease_until LIMIT +?',
  );
  const nextWaiting = db
    .prepare<[number], number | null>('SELECT min(at) FROM taken INDEXED BY taken_timer WHERE state = 0 AND at > +?')
    .pluck();
  const nextExpiry = db
    .prepare<[], number | null>('SELECT min(lease_until) FROM taken INDEXED BY taken_sending WHERE state = 1')
    .pluck();
  const startNow = db.prepare('UPDATE subscription SET read_to = ? WHERE namespace = ? AND name = ?');
  let news = false;

  function waits(at: number): void {
    if (at <= store.nowMs) news = true;
    else store.wake(at);
  }

  function toRecord(s: SubscriptionRow): SubscriptionRecord {
    const counts = { waiting: 0, sending: 0, held: 0, dead: 0 };
    let oldestOpen: number | null = null;
    for (const { state, n, oldest } of states.all(s.id)) {
      counts[stateNames[state]!] = n;
      if (state !== takenStates.dead && (oldestOpen === null || oldest < oldestOpen)) oldestOpen = oldest;
    }
    return {
      number: s.id,
      namespace: s.namespace,
      name: s.name,
      text: s.text,
      topics: JSON.parse(s.topics) as string[],
      savedAt: s.saved_at,
      createdAt: s.created_at,
      version: s.version,
      paused: s.paused === 1,
      epoch: log.epoch,
      readTo: s.read_to,
      ...counts,
      oldestOpen,
      oldestOpenAt: oldestOpen === null ? null : (takenAt.get(s.id, oldestOpen) ?? null),
      failures: s.failures,
      blockedUntil: s.blocked_until,
    };
  }

  const record = (key: Key): SubscriptionRecord | undefined => {
    const found = byName.get(key.namespace, key.name);
    return found && toRecord(found);
  };

  function startOf(namespace: string, from: StartFrom): number {
    const { last } = log.logOf(namespace);
    if (from === 'now') return last;
    return from === 'start' ? 0 : Math.min(from.position, last);
  }

  /** What waited behind it may go now. */
  function freeKey(subscription: number, ordering: string | null): void {
    if (ordering === null) return;
    const next = nextOfKey.get(subscription, ordering);
    if (next === undefined) return;
    release.run(store.nowMs, subscription, next);
    news = true;
  }

  function leaseEnd(leaseMs: number): number {
    store.wake(store.nowMs + leaseMs);
    return store.nowMs + leaseMs - store.pausedMs;
  }

  /** The first dead ones, or those of these that are dead. */
  function deadOf(subscription: number, positions: readonly number[] | undefined, limit: number): TakenRow[] {
    if (!positions) return openRows.all(subscription, `[${takenStates.dead}]`, 0, limit);
    return [...new Set(positions)]
      .toSorted((a, b) => a - b)
      .map((position) => row.get(subscription, position))
      .filter((one) => one !== undefined)
      .filter(({ state }) => state === takenStates.dead)
      .slice(0, limit);
  }

  /** Of one event in a subscription, dead or alive. */
  const eventOf = (s: SubscriptionRow, position: number): EventRow | undefined =>
    log.event(log.logOf(s.namespace), position) ?? buried.get(s.id, position);

  return {
    save(document, from) {
      const { namespace, name, text, topics, savedAt } = document;
      const before = byName.get(namespace, name);
      news = true;
      if (before) change.run(text, JSON.stringify(topics), savedAt, before.id);
      else insert.run(namespace, name, text, JSON.stringify(topics), savedAt, savedAt, startOf(namespace, from));
      return { kind: before ? 'changed' : 'made', subscription: record(document)! };
    },
    begin(key, fromNow) {
      if (fromNow) startNow.run(startOf(key.namespace, 'now'), key.namespace, key.name);
      return record(key)!;
    },
    remove(key) {
      const found = byName.get(key.namespace, key.name);
      if (!found) return false;
      for (const statement of drops) statement.run(found.id);
      news = true;
      return true;
    },
    pause(key, paused) {
      const found = byName.get(key.namespace, key.name);
      if (!found) return undefined;
      if ((found.paused === 1) !== paused) setPaused.run(paused ? 1 : 0, found.id);
      news = true;
      return record(key);
    },
    list: (namespace) => (namespace === undefined ? all.all() : ofNamespace.all(namespace)).map(toRecord),
    get: record,
    claim(c) {
      const s = byId.get(c.subscription);
      if (!s) return { kind: 'gone' };
      if (s.paused === 1) return { kind: 'paused' };
      if (moveCursor.run(c.readTo, c.subscription, c.readFrom).changes === 0)
        return { kind: 'moved', readTo: s.read_to };
      const now = store.nowMs;
      const until = c.take.length > 0 ? leaseEnd(c.leaseMs) : 0;
      const leases: LeasedEvent[] = [];
      for (const { position, orderingKey } of c.take) {
        const ordering = c.ordered ? orderingKey : null;
        const held = ordering !== null && keyIsOut.get(c.subscription, ordering) !== undefined;
        const state = held ? takenStates.held : takenStates.sending;
        const [attempt, kind, end] = held ? [0, null, null] : [1, kinds[c.kind], until];
        take.run(
          c.subscription,
          position,
          state,
          now,
          attempt,
          attempt,
          kind,
          end,
          now,
          held ? null : c.worker,
          ordering,
        );
        if (!held)
          leases.push({
            subscription: c.subscription,
            position,
            leaseNo: 1,
            attempt: 1,
            leaseUntil: until + store.pausedMs,
          });
      }
      return { kind: 'claimed', leases };
    },
    leaseDue({ subscription, max, maxBytes, kind, worker, leaseMs }) {
      const s = byId.get(subscription);
      if (!s || s.paused === 1) return [];
      const found: { lease: LeasedEvent; event: EventRow }[] = [];
      let bytes = 0;
      for (const one of dueRows.all(subscription, store.nowMs, max)) {
        const event = eventOf(s, one.position);
        if (!event) {
          // Its topic has been cut beyond what was asked to be kept: there is nothing left to deliver.
          drop.run(subscription, one.position);
          freeKey(subscription, one.ordering);
          continue;
        }
        bytes += event.body.length;
        if (found.length > 0 && bytes > maxBytes) break;
        const until = leaseEnd(leaseMs);
        lease.run(kinds[kind], until, worker, subscription, one.position);
        found.push({
          lease: {
            subscription,
            position: one.position,
            leaseNo: one.lease_no + 1,
            attempt: one.attempt + 1,
            leaseUntil: until + store.pausedMs,
          },
          event,
        });
      }
      return found;
    },
    extend({ subscription, position, leaseNo, leaseMs }) {
      if (!byId.get(subscription)) return { kind: 'gone' };
      const one = row.get(subscription, position);
      if (!one || one.state !== takenStates.sending || one.lease_no !== leaseNo || one.lease_until! <= store.leaseNow)
        return { kind: 'lost' };
      const until = leaseEnd(leaseMs);
      keep.run(until, subscription, position);
      return { kind: 'extended', leaseUntil: Math.max(one.lease_until!, until) + store.pausedMs };
    },
    settle({ subscription, position, leaseNo, verdict, outlet }) {
      const s = byId.get(subscription);
      if (!s) return { kind: 'gone' };
      const one = row.get(subscription, position);
      // A row that is not there was acknowledged; to say so once more changes nothing.
      if (!one) return position <= s.read_to && verdict.to === 'acked' ? { kind: 'repeated' } : { kind: 'lost' };
      if (one.state !== takenStates.sending || one.lease_no !== leaseNo || one.lease_until! <= store.leaseNow)
        return { kind: 'lost' };
      if (outlet?.kind === 'well') well.run(subscription);
      else if (outlet) {
        ill.run(outlet.tripAt, outlet.blockUntil, subscription);
        store.wake(outlet.blockUntil);
      }
      if (verdict.to === 'acked') {
        drop.run(subscription, position);
        unbury.run(subscription, position);
        freeKey(subscription, one.ordering);
      } else if (verdict.to === 'waiting') {
        const attempt = verdict.attemptUsed ? one.attempt : one.attempt - 1;
        setState.run(takenStates.waiting, verdict.at, attempt, verdict.code, verdict.detail, subscription, position);
        waits(verdict.at);
      } else {
        const event = eventOf(s, position);
        if (event)
          bury.run(subscription, position, event.topic, event.orderingKey, event.head, event.appendedAt, event.body);
        setState.run(takenStates.dead, store.nowMs, one.attempt, verdict.code, verdict.detail, subscription, position);
        freeKey(subscription, one.ordering);
      }
      return { kind: 'recorded' };
    },
    open({ subscription, states: wanted, limit, after = 0 }) {
      const s = byId.get(subscription);
      if (!s) return [];
      const numbers = JSON.stringify(wanted.map((state) => takenStates[state]));
      return openRows.all(subscription, numbers, after, limit).map((one) => ({
        position: one.position,
        state: stateNames[one.state]!,
        attempt: one.attempt,
        orderingKey: one.ordering,
        worker: one.worker,
        nextAt: one.state === takenStates.waiting ? one.at : null,
        leaseUntil: one.lease_until === null ? null : one.lease_until + store.pausedMs,
        takenAt: one.taken_at,
        code: one.code,
        detail: one.detail,
        event: eventOf(s, one.position) ?? null,
      }));
    },
    redrive({ subscription, positions, limit }) {
      const some = deadOf(subscription, positions, limit);
      for (const { position, ordering } of some) {
        // Behind others of its key that are out just now, as if it were read anew.
        const held = ordering !== null && keyIsOut.get(subscription, ordering) !== undefined;
        setState.run(held ? takenStates.held : takenStates.waiting, store.nowMs, 0, null, null, subscription, position);
        if (!held) news = true;
      }
      return some.length;
    },
    forgetDead({ subscription, positions, limit }) {
      const some = deadOf(subscription, positions, limit);
      for (const { position } of some) {
        drop.run(subscription, position);
        unbury.run(subscription, position);
      }
      return some.length;
    },
    voidPushed: () => void voidRows.run(store.nowMs),
    sweep() {
      const rows = expired.all(store.leaseNow, sweepRows);
      for (const { subscription, position, attempt } of rows)
        setState.run(takenStates.waiting, store.nowMs, attempt, 'lease-expired', null, subscription, position);
      if (rows.length > 0) news = true;
      return rows.length === sweepRows;
    },
    next() {
      // What is due already waits for somebody to take it, and not for the clock.
      const waiting = nextWaiting.get(store.nowMs) ?? Number.POSITIVE_INFINITY;
      const expiry = (nextExpiry.get() ?? Number.POSITIVE_INFINITY) + store.pausedMs;
      const next = Math.min(waiting, expiry);
      return next === Number.POSITIVE_INFINITY ? undefined : next;
    },
    committed() {
      const had = news;
      news = false;
      return had;
    },
  };
}
