// work: leases flow to a connection while it holds fewer than it has credits for, and go back when it is gone.
import { isName, streamLimits, WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../../config/config-shape.ts';
import type { Reply } from '../../core/reply.ts';
import type { Services } from '../../core/services.ts';
import type { Work, WorkVerb } from '../../core/work.ts';
import type { Log } from '../../lib/log.ts';
import { pause } from '../../lib/service.ts';
import { longestLeaseSeconds } from '../json/lease-answers.ts';
import { leaseMembers, wholeBody } from '../json/lease.ts';
import { fieldError, Shape } from '../json/shape.ts';
import type { Connection } from './connection.ts';
import type { Frame } from './read-frames.ts';
import { refMember } from './text-frame.ts';

export interface WorkerDependencies {
  services: Services;
  work: WorkVerb;
  reply: Pick<Reply, 'release'>;
  log: Log;
}

/** A place in line is taken anew so often: a service may have been changed meanwhile. */
const parkMs = 25_000;
/** After a refusal, as by a store that is away. */
const againMs = 1000;

/** One service that a connection works for. */
interface Worker {
  service: ServiceConfig;
  ref: string | undefined;
  name: string | null;
  credits: number;
  leaseMs: number | undefined;
  held: number;
  /** Ends the wait for work; undefined while none is asked for. */
  asking: AbortController | undefined;
}

/** A lease that the peer has not answered yet. */
interface Held {
  worker: Worker;
  /** Of the store; undefined for a request that nobody keeps. */
  token: string | undefined;
}

export class Workers {
  readonly #d: WorkerDependencies;
  readonly #connection: Connection;
  readonly #workers = new Map<string, Worker>();
  readonly #held = new Map<string, Held>();
  #unkept = 0;
  /** The server stops: leases outlive that, and the peer answers them to the next server, or to another node. */
  #stays = false;

  constructor(dependencies: WorkerDependencies, connection: Connection) {
    this.#d = dependencies;
    this.#connection = connection;
    connection.atEnd(() => void this.#giveBackAll());
  }

  /** Leases that the peer holds. */
  get held(): number {
    return this.#held.size;
  }

  /** The frame `work`. Throws for one that is wrong. */
  work(frame: Frame): void {
    const { at, ref, value } = frame;
    const shape = new Shape(value, at, ['service', 'subscription', 'credits', 'leaseSeconds', 'worker']);
    if (shape.has('subscription'))
      throw new WaitlessError('not-implemented', `${at}/subscription is not built yet; name a service`);
    const service = this.#d.services.require(shape.needText('service', { most: 128, least: 1 }));
    if (service.target.kind !== 'pull')
      throw new WaitlessError(
        'invalid-parameter',
        `service ${service.name} pushes to a backend; only a service with target pull hands out leases`,
      );
    const credits = shape.number('credits', { least: 0, most: streamLimits.credits, whole: true });
    if (credits === undefined)
      throw fieldError('invalid-parameter', `${at}/credits`, 'is missing: it says how many leases are held at once');
    const leaseSeconds = shape.number('leaseSeconds', { above: 0, most: longestLeaseSeconds });
    const name = shape.text('worker', { most: 128, least: 1 }) ?? null;
    if (name !== null && !isName(name))
      throw fieldError(
        'invalid-name',
        `${at}/worker`,
        'must start with a letter or digit and go on with letters, digits, "_" and "-", 128 at most',
      );
    const wanted = {
      ref,
      name,
      credits,
      leaseMs: leaseSeconds === undefined ? undefined : Math.ceil(leaseSeconds * 1000),
    };
    const known = this.#workers.get(service.name);
    if (!known && this.#workers.size >= streamLimits.workers)
      throw new WaitlessError(
        'too-many-connections',
        `one connection works for ${streamLimits.workers} services at most; open another one`,
      );
    const worker = known ? Object.assign(known, wanted) : { service, ...wanted, held: 0, asking: undefined };
    this.#workers.set(service.name, worker);
    this.#connection.ok(ref);
    // Who waits in line asked for another number.
    worker.asking?.abort();
    this.#ask(worker);
  }

  /** Asks for as much work as there are credits left, unless it waits for some already. */
  #ask(worker: Worker): void {
    const connection = this.#connection;
    if (worker.asking || connection.over || connection.blocked || worker.held >= worker.credits) return;
    const asking = (worker.asking = new AbortController());
    void this.#take(worker, asking).then((pauseMs) => {
      worker.asking = undefined;
      if (pauseMs === 0) return this.#ask(worker);
      void pause(pauseMs, connection.signal).then(() => this.#ask(worker));
    });
  }

  /** Milliseconds after which to ask again. */
  async #take(worker: Worker, asking: AbortController): Promise<number> {
    const { service, name, credits, leaseMs } = worker;
    const connection = this.#connection;
    let taken: Work[];
    const now = this.#d.services.get(service.name);
    if (!now || now.target.kind !== 'pull') return this.#stop(worker);
    worker.service = now;
    try {
      taken = await this.#d.work({
        namespace: connection.namespace,
        service: now,
        worker: name,
        max: credits - worker.held,
        leaseMs,
        waitMs: parkMs,
        signal: asking.signal,
      });
    } catch (error) {
      // What is away comes back, and the peer can do nothing about it; it is told by the error that it gets for what it asks.
      this.#d.log.warn('websocket.work', { service: service.name, error });
      return againMs;
    }
    for (const [i, work] of taken.entries()) {
      if (connection.over || worker.held >= worker.credits) {
        await this.#giveBack(taken.slice(i).map(({ token }) => token));
        break;
      }
      // The places of all are taken before any large body is waited for.
      const token = this.#hold(worker, work);
      const body = work.body instanceof Uint8Array ? work.body : await wholeBody(work.body);
      connection.send(
        `{"type":"lease"${refMember(worker.ref)},${leaseMembers({ ...work, token }, { service: service.name, body })}}`,
      );
    }
    if (connection.blocked) await connection.ready();
    return 0;
  }

  /** The service is gone: nobody gets anything of it any more. */
  #stop(worker: Worker): number {
    this.#workers.delete(worker.service.name);
    worker.credits = 0;
    this.#connection.fail(
      new WaitlessError('unknown-service', `service ${worker.service.name} hands out no leases any more`),
      worker.ref,
    );
    return 0;
  }

  #hold(worker: Worker, { token }: Work): string {
    const kept = token !== 'none';
    // Of requests that nobody keeps each needs a name of its own, for its place to come back.
    const known = kept ? token : `none.${++this.#unkept}`;
    this.#held.set(known, { worker, token: kept ? token : undefined });
    worker.held++;
    return known;
  }

  /** A lease was answered, or is to be: its place is free. Undefined for one that this connection does not hold. */
  free(token: string): Held | undefined {
    const held = this.#held.get(token);
    if (!held) return undefined;
    this.#held.delete(token);
    held.worker.held--;
    return held;
  }

  /** The answer could not be recorded: the lease is held on. */
  keep(token: string, held: Held): void {
    if (this.#connection.over || held.token === undefined) return;
    this.#held.set(token, held);
    held.worker.held++;
  }

  /** No more work is taken; what is held stays so, also when the connection ends. */
  pause(): void {
    this.#stays = true;
    for (const worker of this.#workers.values()) {
      worker.credits = 0;
      worker.asking?.abort();
    }
  }

  /** Fills the places that are free. */
  refill(): void {
    for (const worker of this.#workers.values()) this.#ask(worker);
  }

  async #giveBackAll(): Promise<void> {
    for (const { asking } of this.#workers.values()) asking?.abort();
    const tokens = this.#stays ? [] : [...this.#held.values()].flatMap(({ token }) => token ?? []);
    this.#held.clear();
    if (tokens.length > 0) await this.#giveBack(tokens);
  }

  async #giveBack(tokens: readonly string[]): Promise<void> {
    const giving = this.#d.reply.release(tokens).catch((error: unknown) => {
      // The leases end by themselves then.
      this.#d.log.warn('websocket.release', { count: tokens.length, error });
    });
    this.givenBack = Promise.all([this.givenBack, giving]);
    await giving;
  }

  /** Resolves once all that was to be given back is. */
  givenBack: Promise<unknown> = Promise.resolve();
}
