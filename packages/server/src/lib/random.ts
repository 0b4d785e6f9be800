// Randomness for the whole server, injected so that tests can own it.
import { randomFillSync } from 'node:crypto';

export interface Random {
  /** 128 unguessable bits as 32 hexadecimal digits. */
  nonce(): string;
  /** Uniform in [0, 1), for jitter. */
  fraction(): number;
}

/** Draws from the operating system in blocks of 8 KB: one call per id costs ten times as much. */
export function systemRandom(): Random {
  const pool = Buffer.allocUnsafeSlow(8192);
  let used = pool.length;
  return {
    nonce() {
      if (used === pool.length) {
        randomFillSync(pool);
        used = 0;
      }
      used += 16;
      return pool.toString('hex', used - 16, used);
    },
    fraction: Math.random,
  };
}
