// What the driver has no answer to: another side that says nothing any more. Every wait has an end, and so has every goodbye.
import type pg from 'pg';

/** Without a word to the other side, which may never answer one. */
export function destroySocket(client: pg.Client): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}

/** Says goodbye, and goes without an answer after `withinMs`. */
export async function endSession(client: pg.Client, withinMs = 1000): Promise<void> {
  await within(client.end(), withinMs).catch(() => {});
  destroySocket(client);
}

/** The other side did not answer in time. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
}

/** The promise's own end, or NoAnswer after `limitMs`. Whoever gets that drops the connection: what was asked may still come. */
export async function within<T>(promise: Promise<T>, limitMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new NoAnswer(`no answer within ${limitMs / 1000} s`)), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
