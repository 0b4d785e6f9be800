// Submissions under business keys: a stored result or a twin under way answers them, or they are the one that computes.
//
// In two steps, so that what is answered waits for no disk: a look that writes nothing, and for the rest rounds of looking and writing. A share is taken
// only while it is as it was seen, so of twins, in one batch or on several nodes, one computes and the others see it in their next round.
import type { Submission, SubmitOutcome } from '../../engine/engine.ts';
import { toCallerError } from './errors.ts';
import type { Claim } from './insert.ts';
import { type Join, joinAll } from './joins.ts';
import { flush, hasKey, type KeysContext, keyStates, type Told, replay, takeToldKeys, toldCodes } from './keys.ts';
import { type Judged, judgeShares } from './shares.ts';
import { restless, rounds } from './submit.ts';

/** A submission that no look has answered, with what its share was seen as; undefined where that has to be looked at again. */
export interface SharedItem {
  submission: Submission;
  judged: Judged | undefined;
}

export type Looked = { kind: 'answered'; outcome: SubmitOutcome } | { kind: 'open'; item: SharedItem };

/** Answers what needs no write. */
export async function lookAtShares(batch: readonly Submission[], context: KeysContext): Promise<Looked[]> {
  const withKey = batch.filter(hasKey);
  const states = await keyStates(withKey, context);
  const stateOf = new Map(withKey.map((s, i) => [s as Submission, states[i]]));
  const fresh = batch.filter((s) => !stateOf.get(s));
  const judged = await judgeShares(fresh, context);
  const judgedOf = new Map(fresh.map((s, i) => [s, judged[i]!]));
  return batch.map((submission): Looked => {
    const state = stateOf.get(submission);
    const seen = judgedOf.get(submission);
    const { answer, unsynced } = state ?? seen!;
    const writes =
      (unsynced && submission.durability === 'stored') ||
      // What answers is noted under the idempotency key; that there is nothing is not. Who joins may want to be told of the end.
      (seen &&
        (seen.makes || (hasKey(submission) && standsFor(answer) !== undefined) || callsBack(submission, answer)));
    return answer && !writes
      ? { kind: 'answered', outcome: answer }
      : { kind: 'open', item: { submission, judged: seen } };
  });
}

export interface MakeContext extends KeysContext {
  /** The connection does not wait for the disk. */
  early: boolean;
  /** Stores new operations, those that win their key and their share; numbers by place. */
  store(submissions: readonly Submission[], claims: readonly Claim[]): Promise<Map<number, number>>;
}

/** One submission on its way through the rounds. */
interface Entry extends SharedItem {
  outcome: SubmitOutcome | undefined;
  /** Something of it is stored: its batch must not be tried again as if nothing were. */
  written: boolean;
}

const isOpen = ({ outcome }: Entry): boolean => outcome === undefined;

export async function makeShared(items: readonly SharedItem[], context: MakeContext): Promise<SubmitOutcome[]> {
  const entries = items.map((item): Entry => ({ ...item, outcome: undefined, written: false }));
  let open = entries;
  try {
    for (let round = 0; open.length > 0 && round < rounds; round++) {
      await lookAgain(open, context);
      open = open.filter(isOpen);
      const turn = turnOf(open);
      await answer(turn, context);
      await make(turn, context);
      open = open.filter(isOpen);
    }
  } catch (error) {
    if (!entries.some(({ written }) => written)) throw error;
    for (const entry of entries.filter(isOpen)) entry.outcome = await makeAlone(entry, context);
  }
  return entries.map(({ outcome }) => outcome ?? restless());
}

async function makeAlone({ submission }: Entry, context: MakeContext): Promise<SubmitOutcome> {
  try {
    return (await makeShared([{ submission, judged: undefined }], context))[0]!;
  } catch (error) {
    return { kind: 'refused', error: toCallerError(error, { sent: true }) };
  }
}

/** Those that were not judged yet, or lost what they wanted to take. */
async function lookAgain(open: readonly Entry[], context: MakeContext): Promise<void> {
  const unjudged = open.filter(({ judged }) => judged === undefined);
  const withKey = unjudged.filter(({ submission }) => hasKey(submission));
  const answers = await replay(withKey.map(({ submission }) => submission).filter(hasKey), context);
  for (const [i, entry] of withKey.entries()) entry.outcome = answers[i];
  const left = unjudged.filter(isOpen);
  const judged = await judgeShares(
    left.map(({ submission }) => submission),
    context,
  );
  for (const [i, entry] of left.entries()) entry.judged = judged[i];
}

/** Those whose turn it is: the first of each idempotency key, and of each share that is to be taken. The others look again when it is decided. */
function turnOf(open: readonly Entry[]): Entry[] {
  const keys = new Set<string>();
  const shares = new Map<string, 'alone' | 'together'>();
  return open.filter((entry) => {
    const { submission, judged } = entry;
    const { queue, idempotency, sharing } = submission;
    const key = idempotency && `${queue}/${idempotency.key}`;
    const share = judged!.makes && sharing ? `${queue}/${sharing.share}` : undefined;
    // Work of its own waits for nobody's, so any number of it goes at once.
    const how = sharing?.use === 'nothing' ? 'together' : 'alone';
    const taken = share === undefined ? undefined : shares.get(share);
    if ((key !== null && keys.has(key)) || (taken !== undefined && (taken === 'alone' || how === 'alone'))) {
      entry.judged = undefined;
      return false;
    }
    if (key !== null) keys.add(key);
    if (share !== undefined) shares.set(share, how);
    return true;
  });
}

/** Gives those their answer that have one; where they have an idempotency key, once it stands for what answers. */
async function answer(turn: readonly Entry[], context: MakeContext): Promise<void> {
  const answered = turn.filter(({ judged }) => judged!.answer);
  const unsynced = ({ submission, judged }: Entry): boolean => judged!.unsynced && submission.durability === 'stored';
  if (!context.early && answered.some(unsynced)) await flush(context.connection);
  const told: (Told & { entry: Entry })[] = [];
  const joins: (Join & { entry: Entry })[] = [];
  for (const entry of answered) {
    const { submission, judged } = entry;
    const stands = standsFor(judged!.answer);
    if (callsBack(submission, judged!.answer)) joins.push({ submission, seq: stands!.seq, entry });
    else if (hasKey(submission) && stands) told.push({ submission, ...stands, entry });
    else if (!judged!.makes) entry.outcome = judged!.answer;
  }
  const took = await takeToldKeys(told, context);
  for (const [i, { entry }] of told.entries()) {
    if (!took[i]) {
      entry.judged = undefined;
      continue;
    }
    entry.written = true;
    entry.outcome = withoutWork(entry.judged!.answer!);
  }
  const joined = await joinAll(joins, context);
  for (const [i, { entry }] of joins.entries()) {
    if (joined[i] === 'full') entry.outcome = { kind: 'callbacks-full' };
    else if (joined[i] === 'again') entry.judged = undefined;
    else {
      entry.written = true;
      entry.outcome = entry.judged!.answer;
    }
  }
}

/** It joins, and is to be told of the end of what it joins. */
const callsBack = (submission: Submission, answer: SubmitOutcome | undefined): submission is Join['submission'] =>
  answer?.kind === 'joined' && submission.callback != null;

/** What an idempotency key is to stand for after this outcome; undefined where it stands for nothing. */
function standsFor(outcome: SubmitOutcome | undefined): { seq: number; told: number } | undefined {
  if (outcome?.kind === 'stored') return { seq: outcome.stored.operation.seq, told: toldCodes.stored };
  if (outcome?.kind === 'joined') return { seq: outcome.operation.seq, told: toldCodes.joined };
  return undefined;
}

/** A stale result answers also where another computes the new one. */
const withoutWork = (outcome: SubmitOutcome): SubmitOutcome =>
  outcome.kind === 'stored' ? { ...outcome, refreshing: false } : outcome;

/** Has those compute that are to, as far as they win. */
async function make(turn: readonly Entry[], context: MakeContext): Promise<void> {
  // Newest last in its share: it is the one that the row names.
  const making = turn.filter(({ judged }) => judged?.makes);
  if (making.length === 0) return;
  const forced = new Set<string>();
  const claims: Claim[] = [];
  for (const { submission, judged } of making.toReversed()) {
    const { queue, sharing } = submission;
    const share = `${queue}/${sharing?.share}`;
    const take = sharing?.use !== 'nothing' ? 'compare' : forced.has(share) ? 'follow' : 'force';
    if (take === 'force') forced.add(share);
    claims.unshift({ ...judged!.seen, take });
  }
  const submissions = making.map(({ submission, judged }) =>
    // The key of one that is answered with a stale result stands for that one, and who has an answer is told of no other.
    judged!.answer ? { ...submission, idempotency: null, callback: null } : submission,
  );
  const seqs = await context.store(submissions, claims);
  for (const [i, entry] of making.entries()) {
    const seq = seqs.get(i);
    const { answer: instead, expired } = entry.judged!;
    entry.judged = undefined;
    if (seq === undefined) continue;
    entry.written = true;
    entry.outcome = instead ?? { kind: 'new', seq, ...(expired ? { expired } : {}) };
  }
}
