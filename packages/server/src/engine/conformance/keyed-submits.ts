// Short ways to submit under business keys, for the cases about shared results.
import assert from 'node:assert/strict';
import type { Idempotency, Keep, KeyFound, Sharing, Submission, SubmitOutcome } from '../engine.ts';
import { type Fixture, type Node, result } from './fixture.ts';

/** Digests are opaque to an engine; these have their length. */
export const digest = (text: string): string => Buffer.from(text.padEnd(32, '.')).toString('base64url');

export const sharing = (key: string, more: Partial<Sharing> = {}): Sharing => ({
  identity: digest(key),
  share: digest(`share of ${key}`),
  use: 'stored',
  maxAgeMs: null,
  onlyStored: false,
  ...more,
});

/** A node and the clock it goes by. */
export type Place = Pick<Fixture, 'clock'> & Pick<Node, 'engine' | 'submission'>;

export async function ask(
  at: Place,
  key: string,
  { sharing: wanted, ...rest }: Partial<Omit<Submission, 'sharing'>> & { sharing?: Partial<Sharing> } = {},
): Promise<SubmitOutcome> {
  const submission = await at.submission({ key, sharing: sharing(key, wanted), ...rest });
  const [outcome] = await at.engine.submit([submission], at.clock.now());
  return outcome!;
}

/** The number of the operation that an outcome is about, after the word for what it is. */
export function told(outcome: SubmitOutcome): [kind: string, seq: number | null] {
  switch (outcome.kind) {
    case 'new':
      return [outcome.expired ? 'new expired' : 'new', outcome.seq];
    case 'replayed':
      return [`replayed ${outcome.as}`, outcome.operation.seq];
    case 'joined':
      return ['joined', outcome.operation.seq];
    case 'stored':
      return [outcome.refreshing ? 'refreshing' : 'stored', outcome.stored.operation.seq];
    default:
      return [outcome.kind, null];
  }
}

/** Submits, leases and ends one operation; answers its number. */
export async function compute(
  f: Fixture,
  key: string,
  {
    text = `result of ${key}`,
    keep = { freshMs: 10_000, staleMs: 0 },
    ...rest
  }: {
    text?: string;
    keep?: Keep | null;
  } & Parameters<typeof ask>[2] = {},
): Promise<number> {
  const outcome = await ask(f, key, rest);
  assert.equal(outcome.kind, 'new');
  await finish(f, { text, keep });
  return outcome.kind === 'new' ? outcome.seq : 0;
}

/** Ends the one operation that is ready. */
export async function finish(f: Fixture, { text, keep }: { text: string; keep: Keep | null }): Promise<number> {
  const leases = await f.lease();
  assert.equal(leases.length, 1, 'one operation is ready');
  const [outcome] = await f.settle(leases[0]!, { to: 'succeeded', result: result(text), keep });
  assert.equal(outcome?.kind, 'recorded');
  return leases[0]!.seq;
}

export const idempotency = (f: Pick<Fixture, 'clock'>, key: string, more: Partial<Idempotency> = {}): Idempotency => ({
  key,
  fingerprint: 'same',
  expiresAt: f.clock.now() + 60_000,
  retryFailed: false,
  ...more,
});

export async function lookUp(at: Place, key: string): Promise<KeyFound | undefined> {
  const queue = (await at.engine.queue('default', 'work')).id;
  return at.engine.lookUp({ queue, identity: digest(key) }, at.clock.now());
}

export async function forget(at: Place, key: string): Promise<boolean> {
  const queue = (await at.engine.queue('default', 'work')).id;
  return at.engine.forget({ queue, identity: digest(key) });
}

/** The text that a look-up finds stored, or what else it finds. */
export async function foundUnder(at: Place, key: string): Promise<string | undefined> {
  const found = await lookUp(at, key);
  if (found?.kind === 'running') return `running ${found.operation.seq}`;
  return found && Buffer.from(found.stored.result.body!).toString();
}
