// What the retries take from outside, so that tests decide about chance, time and names.
import { sleep } from './backoff.ts';

export interface Seams {
  random: () => number;
  /** Milliseconds that only grow. */
  now: () => number;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Calls after so long, unless what it gives is called before. Limits of a connection are kept by it, and not by pauses. */
  after: (ms: number, call: () => void) => () => void;
  /** A name that nobody else has, for idempotency keys and workers. */
  newName: () => string;
}

export const defaultSeams: Seams = { random: Math.random, now: () => performance.now(), sleep, after, newName };

function after(ms: number, call: () => void): () => void {
  const timer = setTimeout(call, ms);
  return () => clearTimeout(timer);
}

/** 128 random bits. `crypto.randomUUID` is missing on pages that came over plain http. */
function newName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
