// Rounds of writing new operations: what lost its idempotency key is answered with what the key stands for, or tries again where it stands for nothing.
//
// Twins of one key in one batch never meet (the batcher keeps them apart); twins of two nodes meet in the unique index, where the second waits for
// the first one's commit.
import { WaitlessError } from '@waitless/protocol';
import type { LeasedOperation, Submission, SubmitOutcome } from '../../engine/engine.ts';
import { toCallerError } from './errors.ts';
import { insert, type SubmitContext, type SubmitItem } from './insert.ts';
import { hasKey, replay } from './keys.ts';
import type { Taker } from './takers.ts';

/** A key can be given back and taken anew by another again and again; that often means that something else is wrong. */
export const rounds = 10;

/** Stores a batch in which no key stands twice. */
export async function submitBatch(items: readonly SubmitItem[], context: SubmitContext): Promise<SubmitOutcome[]> {
  const outcomes: SubmitOutcome[] = [];
  const isOpen = (i: number): boolean => outcomes[i] === undefined;
  let open = items.map((_, i) => i);
  try {
    for (let round = 0; open.length > 0 && round < rounds; round++) {
      const stored = await insert(
        open.map((i) => items[i]!),
        context,
      );
      for (const [at, i] of open.entries()) {
        const seq = stored.get(at);
        if (seq !== undefined) outcomes[i] = { kind: 'new', seq };
      }
      open = open.filter(isOpen);
      if (open.length === 0) break;
      const answers = await replay(open.map((i) => items[i]!.submission).filter(hasKey), {
        ...context,
        queues: context.node.queues,
      });
      // Without a key everything was stored.
      for (const [at, i] of open.entries()) if (answers[at]) outcomes[i] = answers[at];
      open = open.filter(isOpen);
    }
  } catch (error) {
    // What was stored stays stored: the batch as a whole must not be tried again.
    if (!outcomes.some((outcome) => outcome?.kind === 'new')) throw error;
    for (const i of open.filter(isOpen)) outcomes[i] = await submitAlone(items[i]!, context);
    return outcomes;
  }
  for (const i of open) outcomes[i] = restless();
  return outcomes;
}

export const restless = (): SubmitOutcome => ({
  kind: 'refused',
  error: new WaitlessError('storage-unavailable', 'its key never came to rest', { members: { accepted: false } }),
});

async function submitAlone(item: SubmitItem, context: SubmitContext): Promise<SubmitOutcome> {
  try {
    return (await submitBatch([item], context))[0]!;
  } catch (error) {
    return { kind: 'refused', error: toCallerError(error, { sent: true }) };
  }
}

/** What the taker of a stored submission gets. */
export function leasedOf(
  s: Submission,
  seq: number,
  taker: Taker,
  nowMs: number,
  inlineBytes: number,
): LeasedOperation {
  return {
    seq,
    nonce: s.nonce,
    queue: s.queue,
    leaseNo: 1,
    attempt: 1,
    correlationId: s.correlationId,
    labels: s.labels,
    createdAt: s.createdAt,
    deadlineAt: s.deadlineAt,
    leaseUntil: nowMs + taker.wanted.leaseMs,
    head: s.head,
    body: s.body.length <= inlineBytes ? s.body : null,
    bodyBytes: s.body.length,
  };
}
