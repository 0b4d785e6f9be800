// Answers on their way: how many fit into one request, and which errors mean "try again".
import { WaitlessError } from '@waitless/protocol';
import type { HeldLease } from './held-lease.ts';
import type { Verdict } from './job.ts';

/** An answer that is not yet recorded, and its lease, which is kept until it is. */
export interface Settling {
  held: HeldLease;
  verdict: Verdict;
}

/** Far below the 1000 items and 10,000 JSON keys that a server reads at once. */
const mostTogether = 200;
/** Far below the 16 MB that a server reads at once, also as base64. */
const mostBytesTogether = 4 * 1024 * 1024;
/** Larger ones go alone, as raw bytes. */
const largeBytes = 1024 * 1024;

/** The first answers that one request may carry, and the large ones among them that must go alone. */
export function takeSettlements(answers: readonly Settling[]): { together: Settling[]; alone: Settling[] } {
  const together: Settling[] = [];
  const alone: Settling[] = [];
  let bytes = 0;
  for (const answer of answers) {
    const size = answer.verdict.kind === 'reply' ? answer.verdict.body.length : 0;
    if (size > largeBytes) alone.push(answer);
    else {
      if (together.length === mostTogether || bytes + size > mostBytesTogether) break;
      bytes += size;
      together.push(answer);
    }
  }
  return { together, alone };
}

/** Whether the same request may succeed later. */
export const isTransient = (error: unknown): error is WaitlessError => error instanceof WaitlessError && error.retry;
