// Reply: what became of leases. One way for push backends, pull workers and "answers later": judge, record, then tell those who wait.
import { WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type {
  Engine,
  ExtendOutcome,
  Keep,
  ProgressReport,
  Queue,
  ResultContent,
  SettleOutcome,
} from '../engine/engine.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Random } from '../lib/random.ts';
import type { Ids, LeaseName } from './ids.ts';
import { type Answer, judge, type Verdict } from './lifecycle.ts';
import type { Ended, Live } from './live.ts';
import type { Pace } from './pace.ts';
import type { QueueCounts } from './queue-counts.ts';
import { attemptUrl, firstPoll } from './polling.ts';
import { orphanPolicy } from './retry.ts';
import type { Services } from './services.ts';
import { keepOf } from './validity.ts';

export interface LeaseAnswer extends LeaseName {
  serviceName: string;
  answer: Answer;
  deadlineAt?: number;
  /** Of the request that was answered, below the service's target. */
  path?: string;
}

export interface ReplyDependencies {
  engine: Pick<Engine, 'settle' | 'extend'>;
  services: Services;
  ids: Ids;
  live: Live;
  pace: Pace;
  counts: Pick<QueueCounts, 'moved'>;
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
}

/** For operations whose service is no longer configured: what was under way may still come. */
const orphanReplyTimeoutMs = 3_600_000;

export class Reply {
  readonly #d: ReplyDependencies;

  constructor(dependencies: ReplyDependencies) {
    this.#d = dependencies;
  }

  /** The lease of a token with its queue; undefined when the token was never issued or belongs to another namespace. */
  async leaseOf(token: string, namespace: string | undefined): Promise<(LeaseName & { at: Queue }) | undefined> {
    const name = this.#d.ids.leaseName(token);
    const at = name && (await this.#d.services.queue(name.queue));
    return name && at && (namespace === undefined || namespace === at.namespace) ? { ...name, at } : undefined;
  }

  /** Gives back work that nobody will do: it is ready for the next at once, not after its lease. */
  async release(tokens: readonly string[]): Promise<void> {
    const released: LeaseAnswer[] = [];
    for (const token of tokens) {
      const lease = await this.leaseOf(token, undefined);
      if (lease) released.push({ ...lease, serviceName: lease.at.service, answer: { kind: 'released' } });
    }
    await this.settle(released);
  }

  /** Records the answers in one commit; each has its own outcome. */
  async settle(answers: readonly LeaseAnswer[]): Promise<SettleOutcome[]> {
    if (answers.length === 0) return [];
    const { engine, clock, live, services, metrics, log, pace, counts } = this.#d;
    const now = clock.now();
    // Nothing is awaited before the engine is called: a lease asked for in the same turn then comes after these answers, in their commit.
    const verdicts = answers.map((answer) => this.#verdict(answer, services.get(answer.serviceName), now));
    const outcomes = await engine.settle(
      verdicts.map((verdict, i) => ({
        seq: answers[i]!.seq,
        leaseNo: answers[i]!.leaseNo,
        transition: verdict.transition,
        backendStatus: verdict.backendStatus,
      })),
      now,
    );
    for (const [i, outcome] of outcomes.entries()) {
      const { queue, seq, leaseNo, attempt, serviceName } = answers[i]!;
      const { transition, backendStatus } = verdicts[i]!;
      if (outcome.kind === 'recorded') {
        metrics.settled[transition.to]++;
        const done = outcome.finishedAt !== null;
        const again = transition.to === 'queued';
        if (done || again) counts.moved({ queue, service: serviceName }, { queued: again ? 1 : 0, running: -1 });
        if (done) {
          // What ended without an answer, as where nobody could be reached, says nothing of how long the work takes.
          const answered = 'result' in transition && transition.result != null;
          const workMs = answered && outcome.attemptAt !== null ? outcome.finishedAt! - outcome.attemptAt : null;
          pace.finished({ service: serviceName, queue, workMs, nowMs: now });
        }
        if (done && !live.has(seq)) live.remember(seq);
        if (live.has(seq)) {
          const result = done && 'result' in transition && transition.result ? { result: transition.result } : {};
          const ended = endOf(outcome, { transition, attempt });
          const news = { version: outcome.version, done, expiresAt: outcome.expiresAt, ...result };
          live.wake(seq, ended ? { ...news, ended } : news);
        }
      } else metrics.settled.refused++;
      if (log.info)
        log.info('operation.settled', {
          seq,
          leaseNo,
          service: serviceName,
          outcome: outcome.kind,
          to: transition.to,
          attempt,
          backendStatus,
        });
    }
    return outcomes;
  }

  /** What an answer does, with what follows from it for others: how long they get the result, or when the backend is asked again. */
  #verdict(answer: LeaseAnswer, service: ServiceConfig | undefined, nowMs: number): Verdict {
    const verdict = judge(answer.answer, this.#standing(answer, service, nowMs));
    const { transition, backendStatus } = verdict;
    if (transition.to === 'succeeded')
      return { transition: { ...transition, keep: keepFor(service, transition.result) }, backendStatus };
    if (
      transition.to !== 'later' ||
      !service?.poll ||
      service.target.kind !== 'http' ||
      answer.answer.kind !== 'response'
    )
      return verdict;
    try {
      const url = attemptUrl(service.target.url, answer.path ?? '');
      const poll = firstPoll(answer.answer.response, { url, nowMs, sinceMs: nowMs });
      return poll ? { transition: { ...transition, poll }, backendStatus } : verdict;
    } catch (error) {
      const { code, message } = error as WaitlessError;
      return { transition: { to: 'failed', error: { code, message }, result: null }, backendStatus };
    }
  }

  #standing(answer: LeaseAnswer, service: ServiceConfig | undefined, nowMs: number): Parameters<typeof judge>[1] {
    return {
      attempt: answer.attempt,
      leaseNo: answer.leaseNo,
      policy: service?.retry ?? orphanPolicy,
      replyTimeoutMs: service?.replyTimeoutMs ?? orphanReplyTimeoutMs,
      nowMs,
      fraction: this.#d.random.fraction(),
      ...(answer.deadlineAt === undefined ? {} : { deadlineAt: answer.deadlineAt }),
    };
  }

  /** Keeps a lease, and reports progress where there is any. */
  async extend(
    lease: LeaseName & { at: Queue },
    { leaseMs, progress }: { leaseMs: number | undefined; progress: ProgressReport | null },
  ): Promise<ExtendOutcome & { kind: 'extended' }> {
    const { engine, clock, live, services } = this.#d;
    const usual = services.get(lease.at.service)?.leaseMs ?? null;
    const outcome = await engine.extend(
      { seq: lease.seq, leaseNo: lease.leaseNo, leaseMs: leaseMs ?? usual, progress },
      clock.now(),
    );
    if (outcome.kind !== 'extended') throw settleError(outcome)!;
    if (progress) live.wake(lease.seq, { version: outcome.version, done: false });
    return outcome;
  }
}

/** What the operation's record says of its end; undefined where that needs a look at it, as for a result that is elsewhere. */
function endOf(
  { finishedAt, expiresAt }: SettleOutcome & { kind: 'recorded' },
  { transition, attempt }: { transition: Verdict['transition']; attempt: number },
): Ended | undefined {
  if (finishedAt === null || (transition.to !== 'succeeded' && transition.to !== 'failed')) return undefined;
  if (transition.result?.status === 303) return undefined;
  const error = transition.to === 'failed' ? transition.error : null;
  return { status: transition.to, attempt, finishedAt, expiresAt, error, reference: null };
}

/** For how long others get a result: what the backend says, else the service. */
const keepFor = (service: ServiceConfig | undefined, { status, headers }: ResultContent): Keep | null =>
  keepOf({
    validForMs: service?.validForMs,
    staleMs: service?.staleMs ?? 0,
    responseHeaders: headers,
    status,
  });

/** Why an answer was not taken, as an error of the table; undefined when it was. */
export function settleError(outcome: SettleOutcome | ExtendOutcome): Error | undefined {
  switch (outcome.kind) {
    case 'lost':
      return new WaitlessError('lease-lost');
    case 'conflict':
      return new WaitlessError('result-already-recorded');
    case 'ended':
      return outcome.status === 'cancelled' ? new WaitlessError('cancelled') : new WaitlessError('already-terminal');
    case 'unknown':
      return new WaitlessError('not-found', 'the operation of this lease is gone');
    case 'refused':
      return outcome.error;
    default:
      return undefined;
  }
}
