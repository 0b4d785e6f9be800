// Reads request bodies: bounded one by one and all together, and not for ever.
import type { IncomingMessage } from 'node:http';
import { WaitlessError } from '@waitless/protocol';
import type { BodyBudget } from '../../core/body-budget.ts';

/** A body must bring at least this much per check, or its sender is only holding a place: 1 kB/s. With the pause between two looks a stall ends within 30 s. */
const leastBytesPerCheck = 25_000;
const checkEveryMs = 25_000;

interface Reading {
  received: number;
  checked: number;
  since: number;
  tooSlow(): void;
}

export class RequestBodies {
  readonly #budget: BodyBudget;
  readonly #reading = new Set<Reading>();
  readonly #timer: NodeJS.Timeout;

  constructor(budget: BodyBudget) {
    this.#budget = budget;
    this.#timer = setInterval(() => this.#check(), checkEveryMs / 6);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** One look at all bodies on their way, instead of a timer for each. */
  #check(): void {
    const now = performance.now();
    for (const reading of this.#reading) {
      if (now - reading.since < checkEveryMs) continue;
      if (reading.received - reading.checked < leastBytesPerCheck) reading.tooSlow();
      reading.checked = reading.received;
      reading.since = now;
    }
  }

  /** The whole body. The room it takes is held until `release` is called with its length. */
  read(request: IncomingMessage, limit: number): Promise<Buffer> {
    const budget = this.#budget;
    const declared = request.headers['content-length'];
    const expected = declared === undefined ? undefined : Number(declared);
    const tooLarge = (): WaitlessError =>
      new WaitlessError('payload-too-large', `the body is larger than the limit of ${limit} bytes`, {
        members: { limitBytes: limit, accepted: false },
      });
    if (expected !== undefined && expected > limit) return Promise.reject(tooLarge());
    if (expected === 0 || (expected === undefined && request.headers['transfer-encoding'] === undefined))
      return Promise.resolve(noBytes);
    let held = expected ?? 0;
    try {
      budget.take(held);
    } catch (error) {
      return Promise.reject(error as Error);
    }
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      const reading: Reading = {
        received: 0,
        checked: 0,
        since: performance.now(),
        tooSlow: () =>
          fail(new WaitlessError('request-timeout', 'the body arrived too slowly', { members: { accepted: false } })),
      };
      const done = (): void => {
        this.#reading.delete(reading);
        request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
      };
      const fail = (error: Error): void => {
        done();
        budget.release(held);
        held = 0;
        reject(error);
      };
      const onData = (chunk: Buffer): void => {
        reading.received += chunk.length;
        if (reading.received > limit) return fail(tooLarge());
        if (reading.received > held) {
          try {
            budget.take(reading.received - held);
            held = reading.received;
          } catch (error) {
            return fail(error as Error);
          }
        }
        chunks.push(chunk);
      };
      const onEnd = (): void => {
        done();
        if (held > reading.received) budget.release(held - reading.received);
        resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
      };
      const onGone = (): void =>
        fail(new WaitlessError('bad-request', 'the connection was closed before the body was complete'));
      this.#reading.add(reading);
      request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
    });
  }

  release(bytes: number): void {
    if (bytes > 0) this.#budget.release(bytes);
  }
}

const noBytes = Buffer.alloc(0);
