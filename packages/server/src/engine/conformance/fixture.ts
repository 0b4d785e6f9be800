// What every conformance case starts from: an open engine of its own, a clock it moves by hand, and short ways to make submissions.
import type {
  Engine,
  LeasedOperation,
  LeaseWanted,
  OpenedEngine,
  ResultContent,
  Settlement,
  Submission,
  Transition,
} from '../engine.ts';
import { manualClock } from '../../lib/clock.ts';
import { systemRandom } from '../../lib/random.ts';

export interface EngineUnderTest {
  name: string;
  /** A new, empty store. */
  create(): Promise<StoreUnderTest>;
}

export interface StoreUnderTest {
  /** An engine on this store, not opened yet. Called again after a close to see what was kept. */
  engine(): Engine;
  /** Removes the store. */
  destroy(): Promise<void>;
}

export interface Fixture {
  engine: Engine;
  /** What the last opening told. */
  opened: OpenedEngine;
  clock: ReturnType<typeof manualClock>;
  /** Closes the engine and opens the store again, as a restart would. */
  reopen(): Promise<Engine>;
  submission(more?: Partial<Submission>): Promise<Submission>;
  /** Submits one and answers its number. */
  submit(more?: Partial<Submission>): Promise<number>;
  lease(more?: Partial<LeaseWanted>, signal?: AbortSignal): Promise<LeasedOperation[]>;
  settle(lease: { seq: number; leaseNo: number }, transition: Transition): ReturnType<Engine['settle']>;
  end(): Promise<void>;
}

export const result = (text: string, status = 200): ResultContent => ({
  status,
  headers: ['Content-Type', 'text/plain'],
  body: Buffer.from(text),
  hash: `hash-of-${text}`,
});

export async function fixture(under: EngineUnderTest): Promise<Fixture> {
  const store = await under.create();
  const clock = manualClock();
  const random = systemRandom();
  let engine = store.engine();
  let opened = await engine.open(clock.now());

  const made: Fixture = {
    get engine() {
      return engine;
    },
    get opened() {
      return opened;
    },
    clock,
    async reopen() {
      await engine.close();
      engine = store.engine();
      opened = await engine.open(clock.now());
      return engine;
    },
    async submission(more = {}) {
      const now = clock.now();
      const queue = more.queue ?? (await engine.queue('default', 'work')).id;
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
        ...more,
      };
    },
    async submit(more) {
      const [outcome] = await engine.submit([await made.submission(more)], clock.now());
      if (outcome?.kind !== 'new') throw new Error(`expected a new operation, got ${JSON.stringify(outcome)}`);
      return outcome.seq;
    },
    lease: (more = {}, signal) =>
      engine.lease(
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
      engine.settle([{ seq, leaseNo, transition, backendStatus: 200 } satisfies Settlement], clock.now()),
    async end() {
      await engine.close();
      await store.destroy();
    },
  };
  return made;
}

export interface Case {
  /** The promise, as a sentence. */
  name: string;
  /** Runs only for engines that survive the process. */
  durableOnly?: true;
  run(f: Fixture): Promise<void>;
}
