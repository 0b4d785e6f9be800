// The deliveries of a node: given out, settled and sent again, and who is told when there is something to do: this node's own sender, and others by a hint.
import type {
  DeliveriesWanted,
  DeliveryEngine,
  DeliverySettlement,
  DeliverySettleOutcome,
  LeasedDelivery,
} from '../../engine/deliveries.ts';
import { Batcher } from './batcher.ts';
import type { Connections } from './connections.ts';
import { isTransient, notReached } from './errors.ts';
import { sendAgain, sweepDeliveries, takeBackOfGone } from './delivery-back.ts';
import { leaseDeliveries, type LeasedDeliveries } from './delivery-lease.ts';
import { listDeliveries, readAttempts, readDelivery } from './delivery-read.ts';
import { settleDeliveries } from './delivery-settle.ts';
import type { Node } from './node.ts';
import { Wake } from './wake.ts';

type Settled = DeliverySettleOutcome | { kind: 'refused'; error: Error };

/** A deadlock or a lock in the way is tried again this often, as in batches. */
const tries = 5;
/** A delivery is settled or given out anew while somebody wants it sent again. */
const rounds = 5;

export interface DeliveriesContext {
  writes: Connections;
  reading: Connections;
  control: Connections;
  node: Node;
  now: () => number;
  /** This node's own sender should look. */
  signal: () => void;
  /** Other nodes' senders should look. */
  hint: () => void;
}

export class Deliveries {
  readonly #context: DeliveriesContext;
  readonly #wake: Wake;
  readonly #settles: Batcher<DeliverySettlement, Settled>;
  /** Something may be due that nobody here has taken. */
  #untaken = false;

  constructor(context: DeliveriesContext) {
    this.#context = context;
    this.#wake = new Wake(context.signal);
    this.#settles = new Batcher<DeliverySettlement, Settled>({
      run: (batch) => context.writes.use((connection) => settleDeliveries(batch, { connection, nowMs: context.now() })),
      // One at a time: a second would wait for the outlets of the first.
      parallel: 1,
      maxItems: 256,
      keyOf: (s) => s.number,
      bytesOf: (s) => s.tried.answer?.length ?? 0,
      refused: (error) => ({ kind: 'refused', error }),
    });
  }

  /** Other nodes may have something to do. */
  get untaken(): boolean {
    return this.#untaken;
  }

  /** Somebody is to be told of something. */
  readonly told = (): void => {
    this.#untaken = true;
    this.#context.signal();
    this.#context.hint();
  };

  async #lease(wanted: DeliveriesWanted): Promise<LeasedDelivery[]> {
    const { writes, node, now } = this.#context;
    this.#untaken = false;
    const { leases, more, nextDue } = await writes.use(async (connection) => {
      for (let attempt = 1; ; attempt++) {
        try {
          return await leaseDeliveries(connection, wanted, { nowMs: now(), nodeId: node.id });
        } catch (error) {
          if (!isTransient(error) || attempt === tries) throw error;
        }
      }
    });
    this.#goOn({ leases, more, nextDue }, wanted.max);
    return leases;
  }

  /** Has the sender look again, at once where it was given less than it wanted and there may be more. */
  #goOn({ leases, more, nextDue }: LeasedDeliveries, max: number): void {
    if (more) this.#untaken = true;
    if (more && leases.length < max) this.#wake.at(0, 0);
    else if (nextDue !== null) this.#wake.at(nextDue, this.#context.now());
  }

  async #settle(batch: readonly DeliverySettlement[]): Promise<DeliverySettleOutcome[]> {
    const outcomes = await this.#settles.call(batch);
    const wrong = outcomes.find((outcome) => outcome.kind === 'refused');
    if (wrong) throw wrong.error;
    for (const { verdict } of batch) if (verdict.to === 'waiting') this.#wake.at(verdict.at, this.#context.now());
    return outcomes as DeliverySettleOutcome[];
  }

  async #find(number: number, namespace: string): ReturnType<DeliveryEngine['delivery']> {
    const delivery = await readDelivery(this.#context.reading, number, namespace);
    return delivery && { delivery, attempts: await readAttempts(this.#context.reading, number) };
  }

  async #sendAgain(number: number, namespace: string): ReturnType<DeliveryEngine['redeliver']> {
    const { control, reading, now } = this.#context;
    for (let round = 0; round < rounds; round++) {
      const waits = await control.use((connection) => sendAgain(connection, { number, namespace, nowMs: now() }));
      if (waits) this.told();
      const delivery = await readDelivery(reading, number, namespace);
      if (!delivery) return { kind: 'unknown' };
      // The sender may have been faster than this look.
      if (waits) return { kind: 'waiting', delivery };
      if (delivery.state === 'sending') return { kind: 'sending' };
    }
    throw notReached();
  }

  /** The calls of the engine. `at` takes the caller's time, `asked` says errors of single statements as callers know them. */
  calls(
    at: (ms: number) => number,
    asked: <T>(work: Promise<T>, how?: { sent?: boolean }) => Promise<T>,
  ): DeliveryEngine {
    return {
      leaseDeliveries: (wanted, now) => {
        at(now);
        return asked(this.#lease(wanted), { sent: true });
      },
      settleDeliveries: (batch, now) => {
        at(now);
        return this.#settle(batch);
      },
      deliveries: (filter) => asked(listDeliveries(this.#context.reading, filter)),
      delivery: (number, namespace) => asked(this.#find(number, namespace)),
      redeliver: (number, namespace, now) => {
        at(now);
        return asked(this.#sendAgain(number, namespace), { sent: true });
      },
    };
  }

  /** Takes back what was not answered for in time, and has the sender look where something is due or soon will be. */
  async sweep(): Promise<void> {
    const { control, now } = this.#context;
    const dueAt = await control.use((connection) => sweepDeliveries(connection, now()));
    if (dueAt === null) return;
    if (dueAt > now()) return this.#wake.at(dueAt, now());
    this.#untaken = true;
    this.#context.signal();
  }

  /** Takes back what nodes were sending that are gone. */
  async takeBackOfGone(): Promise<void> {
    const { control, now } = this.#context;
    if (await control.use((connection) => takeBackOfGone(connection, now()))) this.told();
  }

  stop(): void {
    this.#wake.stop();
  }
}
