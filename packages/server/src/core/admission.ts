// Whether a service takes new work now: its rate and its full queue are judged here, before the store decides whether a submit is new work at all.
//
// Only new work is refused. Repeats, twins of what is under way and stored results cost the backend nothing, so a submit that may not make work is still
// handed to the store, which answers it from what is there or says that it would have been new (`Submission.mayMake`, outcome `full`).
import { WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Clock } from '../lib/clock.ts';
import { limitFields } from '../lib/rate-limit-fields.ts';
import type { Outlooks } from './outlook.ts';
import type { QueueRoom } from './queue-room.ts';
import { giveBack, judgeRate, rateFields, type RateVerdict } from './rate.ts';

/** What was decided for one submit. */
export interface Ticket {
  /** False: a submit that would be new work is refused. */
  readonly mayMake: boolean;
  /** `RateLimit` fields of the answer, of a service that has a rate. */
  readonly fields: Readonly<Record<string, string>>;
  /** The store has answered. What did not become new work leaves its share of the rate to the next; called once, also when the store failed. */
  answered(made: boolean): void;
  /** Why new work is refused. */
  refusal(): WaitlessError;
}

/** Of a service without rate and cap: most of them, and on the path of every submit. */
const free: Ticket = {
  mayMake: true,
  fields: {},
  answered: () => {},
  refusal: () => new WaitlessError('internal-error', 'new work was refused without a reason'),
};

/** Buckets remembered; full ones are no different from those that were never used. */
const mostBuckets = 10_000;

export interface AdmissionDependencies {
  room: QueueRoom;
  outlooks: Pick<Outlooks, 'placeFreeSeconds'>;
  clock: Clock;
}

export interface Wanted {
  service: Pick<ServiceConfig, 'name' | 'rate' | 'maxQueued'>;
  queue: number;
  /** False where nothing is queued, as with durability `none`. */
  queued?: boolean;
}

export class Admission {
  readonly #d: AdmissionDependencies;
  /** By queue: when its bucket is full. */
  readonly #fullAt = new Map<number, number>();

  constructor(dependencies: AdmissionDependencies) {
    this.#d = dependencies;
  }

  /** Decides for one submit; a promise only where the store has to be asked how long the queue is. */
  admit({ service, queue, queued = true }: Wanted): Ticket | Promise<Ticket> {
    const { rate, maxQueued } = service;
    if (rate === undefined && maxQueued === undefined) return free;
    const verdict = rate && this.#take(queue, rate);
    if (rate && !verdict!.allowed)
      return this.#refused(rateLimited(service.name, rate, verdict!), rateFields(rate, verdict!));
    if (maxQueued === undefined || !queued) return this.#admitted({ service, queue, hasPlace: false });
    const room = this.#d.room.take(queue, maxQueued);
    const decide = (hasRoom: boolean): Ticket =>
      hasRoom ? this.#admitted({ service, queue, hasPlace: true }) : this.#noPlace(service, queue, maxQueued);
    return typeof room === 'boolean' ? decide(room) : room.then(decide);
  }

  /** Decides for a batch, each as for itself, with the places of a queue taken all at once. In the order given. */
  async admitAll(wanted: readonly Wanted[]): Promise<Ticket[]> {
    const tickets: Ticket[] = [];
    const capped = new Map<number, { at: number; service: Wanted['service'] }[]>();
    for (const [at, one] of wanted.entries()) {
      const { service, queue, queued = true } = one;
      if (service.rate === undefined && service.maxQueued === undefined) {
        tickets[at] = free;
        continue;
      }
      const { maxQueued, ...uncapped } = service;
      tickets[at] = this.admit({ ...one, service: { ...uncapped, maxQueued: undefined } }) as Ticket;
      if (maxQueued === undefined || !queued || !tickets[at].mayMake) continue;
      const of = capped.get(queue);
      if (of) of.push({ at, service });
      else capped.set(queue, [{ at, service }]);
    }
    await Promise.all(
      Array.from(capped, async ([queue, ones]) => {
        const most = ones[0]!.service.maxQueued!;
        const places = await this.#d.room.takeUpTo(ones.length, queue, most);
        for (const [i, { at, service }] of ones.entries()) {
          if (i < places) tickets[at] = this.#admitted({ service, queue, hasPlace: true });
          else tickets[at] = this.#noPlace(service, queue, most);
        }
      }),
    );
    return tickets;
  }

  #noPlace({ name, rate }: Wanted['service'], queue: number, most: number): Ticket {
    if (rate) this.#return(queue, rate);
    return this.#refused(this.#full(name, queue, most), rate ? this.#fields(queue, rate) : {});
  }

  #admitted({ service, queue, hasPlace }: { service: Wanted['service']; queue: number; hasPlace: boolean }): Ticket {
    const { rate } = service;
    const fieldsNow = (): Ticket['fields'] => (rate ? this.#fields(queue, rate) : {});
    const ticket = {
      mayMake: true,
      fields: fieldsNow(),
      answered: (made: boolean): void => {
        if (hasPlace) this.#d.room.answered(queue);
        if (made || !rate) return;
        this.#return(queue, rate);
        ticket.fields = fieldsNow();
      },
      refusal: () => free.refusal(),
    };
    return ticket;
  }

  #refused(error: WaitlessError, fields: Ticket['fields']): Ticket {
    return { mayMake: false, fields, answered: () => {}, refusal: () => error };
  }

  #take(queue: number, rate: NonNullable<Wanted['service']['rate']>): RateVerdict {
    const verdict = judgeRate(rate, { fullAt: this.#fullAt.get(queue), nowMs: this.#d.clock.now(), take: 1 });
    if (verdict.allowed) this.#remember(queue, verdict.fullAt);
    return verdict;
  }

  #return(queue: number, rate: NonNullable<Wanted['service']['rate']>): void {
    const fullAt = this.#fullAt.get(queue);
    if (fullAt !== undefined) this.#fullAt.set(queue, giveBack(rate, fullAt));
  }

  #fields(queue: number, rate: NonNullable<Wanted['service']['rate']>): Ticket['fields'] {
    return rateFields(rate, judgeRate(rate, { fullAt: this.#fullAt.get(queue), nowMs: this.#d.clock.now(), take: 0 }));
  }

  #remember(queue: number, fullAt: number): void {
    this.#fullAt.delete(queue);
    this.#fullAt.set(queue, fullAt);
    if (this.#fullAt.size <= mostBuckets) return;
    const now = this.#d.clock.now();
    for (const [other, at] of this.#fullAt) if (at <= now) this.#fullAt.delete(other);
    if (this.#fullAt.size > mostBuckets) this.#fullAt.delete(this.#fullAt.keys().next().value!);
  }

  #full(service: string, queue: number, most: number): WaitlessError {
    const retryAfterSeconds = this.#d.outlooks.placeFreeSeconds({ service, queue });
    return new WaitlessError(
      'queue-full',
      `as many operations wait for ${service} as may (${most}); nothing was stored, repeat after Retry-After`,
      {
        retryAfterSeconds,
        members: { accepted: false },
        headers: limitFields({ name: 'queue', quota: most, remaining: 0, untilMs: retryAfterSeconds * 1000 }),
      },
    );
  }
}

function rateLimited(service: string, rate: NonNullable<ServiceConfig['rate']>, verdict: RateVerdict): WaitlessError {
  return new WaitlessError(
    'rate-limited',
    `${service} takes ${rate.requests} submits in ${rate.windowMs / 1000} s; nothing was stored, repeat after Retry-After`,
    {
      retryAfterSeconds: Math.max(1, Math.ceil(verdict.nextMs / 1000)),
      members: { accepted: false },
      headers: rateFields(rate, verdict),
    },
  );
}
