// Takers that wait for work side by side, and who was given what.
import type { LeasedOperation, LeaseWanted } from '../engine.ts';
import { type Node, within } from './fixture.ts';

/**
 * One taker for each of `nodes` takes and waits, over and over, while `submit` runs and until `count` operations were given in all.
 * @returns what each of them was given
 */
export async function shareOut(
  nodes: readonly Node[],
  { count, submit, wanted = {} }: { count: number; submit: () => Promise<unknown>; wanted?: Partial<LeaseWanted> },
): Promise<LeasedOperation[][]> {
  const abort = new AbortController();
  let given = 0;
  let allGiven = (): void => {};
  const all = new Promise<void>((resolve) => (allGiven = resolve));
  const takers = nodes.map(async (node) => {
    const mine: LeasedOperation[] = [];
    while (!abort.signal.aborted) {
      const leases = await node.lease({ ...wanted, wait: true }, abort.signal);
      mine.push(...leases);
      given += leases.length;
      if (given >= count) allGiven();
    }
    return mine;
  });
  try {
    await submit();
    await within(all, `${count} operations are given to those who wait`);
  } finally {
    abort.abort();
  }
  return await Promise.all(takers);
}

export const seqsOf = (leases: readonly { seq: number }[]): number[] => leases.map((l) => l.seq).sort((a, b) => a - b);
