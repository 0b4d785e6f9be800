// What every conformance case starts from: an open engine of its own, a clock it moves by hand, and short ways to make submissions.
import type {
  Engine,
  LeasedOperation,
  LeaseWanted,
  OpenedEngine,
  ResultContent,
  Settlement,
  Submission,
  SubmitOutcome,
  Transition,
} from '../engine.ts';
import { type Clock, manualClock } from '../../lib/clock.ts';
import { systemRandom } from '../../lib/random.ts';

export interface EngineUnderTest {
  name: string;
  /** A new, empty store. */
  create(): Promise<StoreUnderTest>;
}

export interface StoreUnderTest {
  /** An engine on this store, not opened yet. Called again after a close to see what was kept. `hints: false`: it neither sends nor hears any. */
  engine(options?: { hints?: boolean }): Engine;
  /** Removes the store. */
  destroy(): Promise<void>;
}

/** An open engine and short ways to use it, with the clock that all nodes of a case share. */
export interface Node {
  readonly engine: Engine;
  /** What its last opening told. */
  readonly opened: OpenedEngine;
  readonly submission: (more?: Partial<Submission>) => Promise<Submission>;
  /** Submits one and answers its number. */
  readonly submit: (more?: Partial<Submission>) => Promise<number>;
  readonly lease: (more?: Partial<LeaseWanted>, signal?: AbortSignal) => Promise<LeasedOperation[]>;
  readonly settle: (lease: { seq: number; leaseNo: number }, transition: Transition) => ReturnType<Engine['settle']>;
}

export interface Fixture extends Node {
  clock: ReturnType<typeof manualClock>;
  /** Closes the engine and opens the store again, as a restart would. */
  reopen(): Promise<Engine>;
  /** A further node on the same store, for engines that can be shared. It is closed at the end of the case, unless the case did. */
  another(options?: { hints?: boolean }): Promise<Node>;
  end(): Promise<void>;
}

export interface Case {
  /** The promise, as a sentence. */
  name: string;
  /** Runs only for engines that survive the process. */
  durableOnly?: true;
  /** Runs only for engines whose store several processes may open. */
  sharedOnly?: true;
  run(f: Fixture): Promise<void>;
}

export const result = (text: string, status = 200): ResultContent => ({
  status,
  headers: ['Content-Type', 'text/plain'],
  body: Buffer.from(text),
  hash: `hash-of-${text}`,
});

const random = systemRandom();

function nodeOn(open: () => { engine: Engine; opened: OpenedEngine }, clock: Clock): Node {
  const node: Node = {
    get engine() {
      return open().engine;
    },
    get opened() {
      return open().opened;
    },
    async submission(more = {}) {
      const now = clock.now();
      const queue = more.queue ?? (await node.engine.queue('default', 'work')).id;
      return {
        queue,
        nonce: random.nonce(),
        durability: 'stored',
        head: '{"method":"POST","path":"","query":"","headers":[]}',
        body: Buffer.from('request'),
        correlationId: null,
        labels: null,
        createdAt: now,
        runAt: now,
        rank: now,
        deadlineAt: now + 600_000,
        startByAt: null,
        retentionMs: 86_400_000,
        idempotency: null,
        key: null,
        sharing: null,
        ...more,
      };
    },
    async submit(more) {
      const [seq] = seqsOfNew(await node.engine.submit([await node.submission(more)], clock.now()));
      return seq!;
    },
    lease: (more = {}, signal) =>
      node.engine.lease(
        {
          service: 'work',
          namespace: null,
          kind: 'pull',
          worker: 'w',
          max: 10,
          maxBytes: 1e8,
          leaseMs: 30_000,
          wait: false,
          ...more,
        },
        clock.now(),
        signal,
      ),
    settle: ({ seq, leaseNo }, transition) =>
      node.engine.settle([{ seq, leaseNo, transition, backendStatus: 200 } satisfies Settlement], clock.now()),
  };
  return node;
}

export async function fixture(under: EngineUnderTest): Promise<Fixture> {
  const store = await under.create();
  const clock = manualClock();
  const open = async (options?: { hints?: boolean }): Promise<{ engine: Engine; opened: OpenedEngine }> => {
    const engine = store.engine(options);
    const opened = await engine.open(clock.now());
    clock.notBefore(opened.nowMs);
    return { engine, opened };
  };
  let main = await open();
  const others: Engine[] = [];

  const node = nodeOn(() => main, clock);
  return {
    get engine() {
      return node.engine;
    },
    get opened() {
      return node.opened;
    },
    submission: node.submission,
    submit: node.submit,
    lease: node.lease,
    settle: node.settle,
    clock,
    async reopen() {
      await main.engine.close();
      main = await open();
      return main.engine;
    },
    async another(options) {
      const further = await open(options);
      others.push(further.engine);
      // What opening it took is time in which the others lived: a sign of life each, as their servers would have given. Some may be closed.
      for (const engine of [main.engine, ...others])
        await engine.sweep(clock.now(), { removeExpired: false }).catch(() => undefined);
      return nodeOn(() => further, clock);
    },
    async end() {
      // Whatever a failed case left behind: everything is closed before the store goes.
      const closed = await Promise.allSettled([main.engine, ...others].map((engine) => engine.close()));
      await store.destroy();
      for (const one of closed) if (one.status === 'rejected') throw one.reason;
    },
  };
}

/** The numbers of a batch that must all have been new, smallest first. */
export function seqsOfNew(outcomes: readonly SubmitOutcome[]): number[] {
  const seqs = outcomes.map((outcome) => {
    if (outcome.kind !== 'new') throw new Error(`expected a new operation, got ${JSON.stringify(outcome)}`);
    return outcome.seq;
  });
  return seqs.sort((a, b) => a - b);
}

/** Waits for a fact, and says what did not become one instead of hanging for good. */
export function within<T>(waiting: Promise<T>, what: string, limitMs = 20_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${limitMs} ms: ${what}`)), limitMs);
  });
  return Promise.race([waiting, limit]).finally(() => clearTimeout(timer));
}
