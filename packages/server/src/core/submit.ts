// Submit: one accepted request becomes one operation. Synchronous, hybrid and asynchronous submits are this one path;
// they differ in how long the caller waits for what it would find anyway.
import { WaitlessError } from '@waitless/protocol';
import type {
  AtHand,
  Engine,
  Labels,
  OperationRecord,
  StoredResult,
  Submission,
  SubmitOutcome,
} from '../engine/engine.ts';
import { mostCallbacks } from '../engine/deliveries.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Random } from '../lib/random.ts';
import type { Admission, Ticket } from './admission.ts';
import type { CallbackPlaces } from './callback-url.ts';
import type { FireAndForget } from './fire-and-forget.ts';
import type { Ids } from './ids.ts';
import type { Live, News } from './live.ts';
import type { QueueCounts } from './queue-counts.ts';
import type { Services } from './services.ts';
import { forwardedStatus, sharedBy, type Shared } from './shared-request.ts';
import { type SubmitRequest, toSubmission } from './submission.ts';

export type { SubmitRequest } from './submission.ts';

export interface Accepted {
  kind: 'accepted';
  id: string;
  /** What the receipt shows; equal for a repeat. */
  service: string;
  correlationId: string | null;
  labels: Labels | null;
  key: string | null;
  createdAt: number;
  replayed: boolean;
  /** Cache-Status, for a request with a business key. */
  cacheStatus: string | undefined;
  /** A repeat of a submit that was answered from the store: its result is the answer again. */
  fromStore: boolean;
  /** Where an operation was found rather than made. */
  record: OperationRecord | undefined;
  seq: number;
  queue: number;
  /** What is left of the service's rate, where it has one. */
  limits: Ticket['fields'];
}

/** Answered from the store. */
export interface Hit {
  kind: 'stored';
  id: string;
  service: string;
  /** The caller's own, or that of the operation. */
  correlationId: string;
  stored: StoredResult;
  /** Milliseconds since the result was stored. */
  ageMs: number;
  limits: Ticket['fields'];
}

export type Submitted = Accepted | Hit | { kind: 'forgotten' };

const forgotten: Submitted = { kind: 'forgotten' };

/** A request as it goes to the engine. */
interface Prepared {
  request: SubmitRequest;
  shared: Shared;
  submission: Submission;
  ticket: Ticket;
}

/** Whether the store has begun work for it. */
const makesWork = (outcome: SubmitOutcome | undefined): boolean =>
  outcome?.kind === 'new' || (outcome?.kind === 'stored' && outcome.refreshing);

/** What is wrong with one of many is told in its place; what is no problem of ours ends them all. */
function asProblem(error: unknown): WaitlessError {
  if (error instanceof WaitlessError) return error;
  throw error;
}

export interface SubmitDependencies {
  engine: Pick<Engine, 'submit' | 'atHand'>;
  callbackPlaces: Pick<CallbackPlaces, 'judge' | 'judgeAll'>;
  services: Services;
  ids: Ids;
  live: Live;
  clock: Clock;
  random: Random;
  fireAndForget: FireAndForget;
  admission: Pick<Admission, 'admit' | 'admitAll'>;
  counts: Pick<QueueCounts, 'look' | 'moved'>;
  log: Log;
  metrics: Metrics;
}

export function createSubmit({
  engine,
  callbackPlaces,
  services,
  ids,
  live,
  clock,
  random,
  fireAndForget,
  admission,
  counts,
  log,
  metrics,
}: SubmitDependencies) {
  /** A request that nobody keeps. */
  async function forget(request: SubmitRequest, { queue, now }: { queue: number; now: number }): Promise<Submitted> {
    const { service, namespace, head, body, correlationId, labels } = request;
    const ticket = await admission.admit({ service, queue, queued: false });
    if (!ticket.mayMake) throw ticket.refusal();
    try {
      fireAndForget.add({ service, namespace, queue, head, body, correlationId, labels, createdAt: now });
    } catch (error) {
      ticket.answered(false);
      throw error;
    }
    metrics.accepted.none++;
    return forgotten;
  }

  /** What goes to the engine. Throws for a request that cannot be one. */
  function prepare(
    request: SubmitRequest,
    { queue, now, shared = sharedBy(request) }: { queue: number; now: number; shared?: Shared },
  ): Omit<Prepared, 'ticket'> {
    return { request, shared, submission: toSubmission(request, { ...shared, queue, nonce: random.nonce(), now }) };
  }

  /** With a ticket that makes no work the store still answers what needs none: a repeat, a twin and a stored result are never refused. */
  function admitted(one: Omit<Prepared, 'ticket'>, ticket: Ticket): Prepared {
    return { ...one, ticket, submission: ticket.mayMake ? one.submission : { ...one.submission, mayMake: false } };
  }

  /** What the outcome means to the caller. */
  function conclude(outcome: SubmitOutcome, prepared: Prepared, startedAt: number): Accepted | Hit {
    const { request, submission, ticket } = prepared;
    if (makesWork(outcome)) counts.moved({ queue: submission.queue, service: request.service.name }, { queued: 1 });
    if (outcome.kind === 'stored') return toHit(request, outcome.stored, ticket);
    const accepted = toAccepted(outcome, prepared);
    if (outcome.kind === 'joined') metrics.joined++;
    else if (accepted.replayed) metrics.replayed++;
    else {
      metrics.accepted[submission.durability]++;
      if (log.info) {
        log.info('operation.accepted', {
          operation: accepted.id,
          service: request.service.name,
          namespace: request.namespace,
          durability: submission.durability,
          bytes: request.body.length,
          correlationId: request.correlationId ?? accepted.id,
          ms: Math.round((performance.now() - startedAt) * 100) / 100,
        });
      }
    }
    return accepted;
  }

  /** Resolves once the promise of the request's durability holds. Keeps nothing of the request: its body may be large and the wait long. */
  async function submit(request: SubmitRequest): Promise<Submitted> {
    const { service, namespace } = request;
    refuseReadToken(request, ids);
    const startedAt = performance.now();
    if (request.callback) await callbackPlaces.judge(request.callback.url);
    const now = clock.now();
    const queue = services.knownNumber(namespace, service.name) ?? (await services.number(namespace, service.name));
    if (request.durability === 'none') return forget(request, { queue, now });
    const shared = sharedBy(request);
    const found = atHand(request, { queue, now, shared });
    const atOnce = found instanceof Promise ? await found : found;
    // Who is to be told of the end is written down with the operation.
    const known = atOnce?.kind === 'joined' && request.callback ? undefined : atOnce;
    if (known?.kind === 'stored') return toHit(request, known.stored);
    if (request.waits) live.ensureRoom(namespace);
    if (known) {
      metrics.joined++;
      return toAccepted(known, { request, shared });
    }
    const made = prepare(request, { queue, now, shared });
    const ticket = admission.admit({ service, queue });
    const prepared = admitted(made, ticket instanceof Promise ? await ticket : ticket);
    // What the 202 will say of the queue is read while the store writes.
    counts.look();
    let outcome: SubmitOutcome | undefined;
    try {
      [outcome] = await engine.submit([prepared.submission], now);
    } finally {
      prepared.ticket.answered(makesWork(outcome));
    }
    return conclude(outcome!, prepared, startedAt);
  }

  /** All in one call of the store, which sees them one after another; what is wrong with one is told in its place. */
  async function submitAll(requests: readonly SubmitRequest[]): Promise<(Submitted | WaitlessError)[]> {
    const startedAt = performance.now();
    const judged = await callbackPlaces.judgeAll(requests.flatMap(({ callback }) => callback?.url ?? []));
    const now = clock.now();
    const answers: (Submitted | WaitlessError)[] = [];
    const made: { at: number; one: Omit<Prepared, 'ticket'> }[] = [];
    const take = async (request: SubmitRequest, at: number): Promise<void> => {
      const { service, namespace } = request;
      try {
        refuseReadToken(request, ids);
        const refused = request.callback && judged.get(request.callback.url);
        if (refused) throw refused;
        const queue = services.knownNumber(namespace, service.name) ?? (await services.number(namespace, service.name));
        answers[at] = forgotten;
        if (request.durability === 'none') await forget(request, { queue, now });
        else made.push({ at, one: prepare(request, { queue, now }) });
      } catch (error) {
        answers[at] = asProblem(error);
      }
    };
    for (const [at, request] of requests.entries()) if (request.durability !== 'none') await take(request, at);
    const tickets = await admission.admitAll(
      made.map(({ one: { request, submission } }) => ({ service: request.service, queue: submission.queue })),
    );
    const prepared = made.map(({ at, one }, i) => ({ at, one: admitted(one, tickets[i]!) }));
    let outcomes: SubmitOutcome[] = [];
    try {
      if (prepared.length > 0)
        outcomes = await engine.submit(
          prepared.map(({ one }) => one.submission),
          now,
        );
    } finally {
      for (const [i, { one }] of prepared.entries()) one.ticket.answered(makesWork(outcomes[i]));
    }
    for (const [i, { at, one }] of prepared.entries()) {
      try {
        answers[at] = conclude(outcomes[i]!, one, startedAt);
      } catch (error) {
        answers[at] = asProblem(error);
      }
    }
    // Last, since a store that fails fails them all, and of these nothing could be taken back.
    for (const [at, request] of requests.entries()) if (request.durability === 'none') await take(request, at);
    return answers;
  }

  /** An answer that needs no look at the store, nor at the limits: it makes no work. */
  function atHand(
    { idempotencyKey, service }: SubmitRequest,
    { queue, now, shared: { sharing } }: { queue: number; now: number; shared: Shared },
  ): AtHand | Promise<AtHand | undefined> | undefined {
    // An idempotency key comes first, and the answers of a service with a rate tell what is left of it.
    if (sharing === null || idempotencyKey !== null || service.rate !== undefined) return undefined;
    return engine.atHand?.({ queue, sharing }, now);
  }

  function toHit(
    request: Pick<SubmitRequest, 'correlationId'>,
    stored: StoredResult,
    { fields }: Pick<Ticket, 'fields'> = { fields: {} },
  ): Hit {
    const { operation, storedAt } = stored;
    const id = ids.operationId(operation);
    metrics.storedHits++;
    return {
      kind: 'stored',
      id,
      service: operation.service,
      correlationId: request.correlationId ?? operation.correlationId ?? id,
      stored,
      ageMs: Math.max(0, clock.now() - storedAt),
      limits: fields,
    };
  }

  function toAccepted(
    outcome: Exclude<SubmitOutcome, { kind: 'stored' }>,
    { request, submission, shared, ticket }: Pick<Prepared, 'request' | 'shared'> & Partial<Prepared>,
  ): Accepted {
    const { service } = request;
    switch (outcome.kind) {
      case 'refused':
        throw outcome.error;
      case 'mismatch':
        throw new WaitlessError(
          'idempotency-key-reused',
          `Idempotency-Key ${JSON.stringify(request.idempotencyKey)} was used for another request to ${service.name}; take a new key`,
        );
      case 'not-stored':
        throw new WaitlessError(
          'not-stored',
          `Cache-Control: only-if-cached asks for a stored result and there is none under this key; leave it out to have it computed`,
          { members: { accepted: false } },
        );
      case 'full':
        throw ticket!.refusal();
      case 'callbacks-full':
        throw new WaitlessError(
          'too-many-callbacks',
          `the same is being computed already and ${mostCallbacks} callbacks wait for its end, as many as may; submit without Callback-Url, or repeat after Retry-After`,
          { members: { accepted: false } },
        );
      case 'new':
      case 'joined':
      case 'replayed': {
        const made = outcome.kind === 'new';
        const seen = made ? submission! : outcome.operation;
        const seq = made ? outcome.seq : outcome.operation.seq;
        const joined = outcome.kind === 'joined' || (outcome.kind === 'replayed' && outcome.as === 'joined');
        const fromStore = outcome.kind === 'replayed' && outcome.as === 'stored';
        return {
          kind: 'accepted',
          id: ids.operationId({ seq, nonce: seen.nonce }),
          service: service.name,
          // Who joins keeps the name of its own conversation.
          correlationId: (joined ? request.correlationId : null) ?? seen.correlationId,
          labels: seen.labels,
          key: seen.key,
          createdAt: seen.createdAt,
          replayed: outcome.kind === 'replayed',
          cacheStatus: fromStore
            ? 'waitless; hit'
            : forwardedStatus(shared, { joined, expired: made && outcome.expired === true }),
          fromStore,
          record: made ? undefined : outcome.operation,
          seq,
          queue: made ? submission!.queue : outcome.operation.queue,
          limits: ticket?.fields ?? {},
        };
      }
    }
  }

  /** News of the end of an accepted operation, or undefined when it did not end within the wait. */
  function waitForEnd(
    { seq, record }: Accepted,
    { namespace, waitMs, signal }: { namespace: string; waitMs: number; signal: AbortSignal },
  ): Promise<News | undefined> {
    if (record?.finishedAt != null) return Promise.resolve({ version: record.version, done: true });
    return live.wait(seq, { namespace, version: 0, onlyDone: true, timeoutMs: waitMs, signal });
  }

  return { submit, submitAll, waitForEnd };
}

export type SubmitVerbs = ReturnType<typeof createSubmit>;

/** The query is the backend's and goes to it as it came; a credential of ours would be lost to it. */
function refuseReadToken({ head: { query } }: SubmitRequest, ids: Ids): void {
  if (!query.includes('.')) return;
  for (const [word] of query.matchAll(/[A-Za-z0-9_.-]+/g))
    // None is shorter.
    if (word.length > 64 && ids.readGrant(word))
      throw new WaitlessError(
        'invalid-parameter',
        'the query holds a read-only token of this server, which opens look-ups alone and is not for a backend; leave it out',
        { members: { accepted: false } },
      );
}
