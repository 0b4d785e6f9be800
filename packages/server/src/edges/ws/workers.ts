// work: leases flow to a connection while it holds fewer than it has credits for, and go back when it is gone.
import { isName, streamLimits, WaitlessError } from '@waitless/protocol';
import type { Log } from '../../lib/log.ts';
import { pause } from '../../lib/service.ts';
import { leaseMsIn } from '../json/lease-answers.ts';
import { fieldError, Shape } from '../json/shape.ts';
import type { Connection } from './connection.ts';
import { type Handed, type HandedLease, isOver, type LeaseSource } from './lease-source.ts';
import type { Frame } from './read-frames.ts';
import { serviceSource, type ServiceSourceDependencies } from './service-source.ts';
import { subscriptionSource, type SubscriptionSourceDependencies } from './subscription-source.ts';
import { refMember } from './text-frame.ts';

export interface WorkerDependencies extends ServiceSourceDependencies, SubscriptionSourceDependencies {
  log: Log;
}

/** A place in line is taken anew so often: a service may have been changed meanwhile. */
const parkMs = 25_000;
/** After a refusal, as by a store that is away. */
const againMs = 1000;

/** What a frame `work` asks for, besides where from. */
interface Wish {
  ref: string | undefined;
  name: string | null;
  credits: number;
  leaseMs: number | undefined;
  /** Which frame it was: one that had to look for its subscription must not undo a later one. */
  turn: number;
}

/** One service or subscription that a connection works for. */
interface Worker extends Wish {
  source: LeaseSource;
  held: number;
  /** Ends the wait for leases; undefined while none are asked for. */
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
  #turns = 0;
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
  work({ at, ref, value }: Frame): void | Promise<void> {
    const connection = this.#connection;
    const shape = new Shape(value, at, ['service', 'subscription', 'credits', 'leaseSeconds', 'worker']);
    if (shape.has('service') === shape.has('subscription'))
      throw fieldError('invalid-parameter', at, 'must have one of service and subscription');
    const wish: Wish = { ref, ...wishIn(shape, at), turn: ++this.#turns };
    const source = this.#sourceIn(shape, at);
    if (!(source instanceof Promise)) return this.#set(source, wish);
    connection.begin();
    return source.then((found) => this.#set(found, wish)).finally(() => connection.done());
  }

  #sourceIn(shape: Shape, at: string): LeaseSource | Promise<LeaseSource> {
    const { namespace } = this.#connection;
    if (shape.has('service'))
      return serviceSource(this.#d, { namespace, name: shape.needText('service', { most: 128, least: 1 }) });
    const name = shape.needText('subscription', { most: 128, least: 1 });
    return subscriptionSource(this.#d, { namespace, name, at });
  }

  #set(source: LeaseSource, wish: Wish): void {
    const connection = this.#connection;
    if (connection.over) return;
    const known = this.#workers.get(source.key);
    if (!known && this.#workers.size >= streamLimits.workers)
      throw new WaitlessError(
        'too-many-connections',
        `one connection works for ${streamLimits.workers} services and subscriptions at most; open another one`,
      );
    connection.ok(wish.ref);
    if (known && known.turn > wish.turn) return;
    const worker = known ? Object.assign(known, wish) : { ...wish, source, held: 0, asking: undefined };
    this.#workers.set(source.key, worker);
    // Who waits in line asked for another number.
    worker.asking?.abort();
    this.#ask(worker);
  }

  /** Asks for as much as there are credits left, unless it waits for some already. */
  #ask(worker: Worker): void {
    const connection = this.#connection;
    if (worker.asking || this.#stays || connection.over || connection.blocked || worker.held >= worker.credits) return;
    const asking = (worker.asking = new AbortController());
    void this.#take(worker, asking.signal).then((pauseMs) => {
      worker.asking = undefined;
      if (pauseMs === 0) return this.#ask(worker);
      void pause(pauseMs, connection.signal).then(() => this.#ask(worker));
    });
  }

  /** Milliseconds after which to ask again. */
  async #take(worker: Worker, signal: AbortSignal): Promise<number> {
    const { source, name, credits, leaseMs } = worker;
    const connection = this.#connection;
    let handed: Handed;
    try {
      handed = await source.take({ worker: name, max: credits - worker.held, leaseMs, waitMs: parkMs, signal });
    } catch (error) {
      if (isOver(error)) return this.#end(worker, error);
      // What is away comes back, and the peer can do nothing about it; it is told by the error that it gets for what it asks.
      this.#d.log.warn('websocket.work', { ...source.about, error });
      return againMs;
    }
    const { leases, reset } = handed;
    if (reset !== undefined) connection.send(`{"type":"reset"${refMember(worker.ref)},${reset}}`);
    // A hundred services and subscriptions may hand out at once, 16 MB each: a peer that has so much to read already gets no more before it has. What nobody
    // keeps cannot be given back.
    const isFull = connection.full;
    for (const [i, lease] of leases.entries()) {
      const isTooMuch = isFull && lease.token !== undefined;
      if (connection.over || isTooMuch || worker.held >= worker.credits) {
        await this.#giveBack(source, tokensOf(leases.slice(i)));
        break;
      }
      // Its place is taken before a large body is waited for.
      const token = this.#hold(worker, lease);
      try {
        const members = lease.members(token);
        const text = typeof members === 'string' ? members : await members;
        connection.send(`{"type":"lease"${refMember(worker.ref)},${text}}`);
      } catch (error) {
        this.#d.log.warn('websocket.work', { ...source.about, error });
        this.free(token);
        await this.#giveBack(source, tokensOf(leases.slice(i)));
        return againMs;
      }
    }
    if (connection.blocked) await connection.ready();
    return 0;
  }

  /** Nobody gets anything of it any more. */
  #end(worker: Worker, error: WaitlessError): number {
    if (this.#workers.get(worker.source.key) === worker) this.#workers.delete(worker.source.key);
    worker.credits = 0;
    this.#connection.fail(error, worker.ref);
    return 0;
  }

  #hold(worker: Worker, { token }: HandedLease): string {
    // Of requests that nobody keeps each needs a name of its own, for its place to come back.
    const known = token ?? `none.${++this.#unkept}`;
    this.#held.set(known, { worker, token });
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
    const held = new Map<LeaseSource, string[]>();
    for (const { worker, token } of this.#held.values()) {
      if (this.#stays || token === undefined) continue;
      const tokens = held.get(worker.source);
      if (tokens) tokens.push(token);
      else held.set(worker.source, [token]);
    }
    this.#held.clear();
    await Promise.all([...held].map(([source, tokens]) => this.#giveBack(source, tokens)));
  }

  async #giveBack(source: LeaseSource, tokens: readonly string[]): Promise<void> {
    const giving = source.giveBack(tokens).catch((error: unknown) => {
      // The leases end by themselves then.
      this.#d.log.warn('websocket.release', { count: tokens.length, error });
    });
    this.givenBack = Promise.all([this.givenBack, giving]);
    await giving;
  }

  /** Resolves once all that was to be given back is. */
  givenBack: Promise<unknown> = Promise.resolve();
}

const tokensOf = (leases: readonly HandedLease[]): string[] => leases.flatMap(({ token }) => token ?? []);

function wishIn(shape: Shape, at: string): Pick<Wish, 'credits' | 'leaseMs' | 'name'> {
  const credits = shape.number('credits', { least: 0, most: streamLimits.credits, whole: true });
  if (credits === undefined)
    throw fieldError('invalid-parameter', `${at}/credits`, 'is missing: it says how many leases are held at once');
  const leaseMs = leaseMsIn(shape);
  const name = shape.text('worker', { most: 128, least: 1 }) ?? null;
  if (name !== null && !isName(name))
    throw fieldError(
      'invalid-name',
      `${at}/worker`,
      'must start with a letter or digit and go on with letters, digits, "_" and "-", 128 at most',
    );
  return { credits, leaseMs, name };
}
