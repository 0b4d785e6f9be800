// The answers of one turn, from whichever connections: one call of the store, then the next leases, and a place kept where nothing could be recorded.
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import type { EventTokens, GivenToken } from '../../core/event-tokens.ts';
import type { AnsweredEvent } from '../../core/pull.ts';
import { EventAnswers } from './event-answers.ts';
import type { Frame } from './read-frames.ts';
import type { Session } from './session.ts';

const isOfEvent = (token: string): boolean => token.startsWith('ev');

function fixture(settle: (answers: readonly AnsweredEvent[]) => Promise<{ kind: string }[]>) {
  const did: string[] = [];
  const eventTokens = {
    isOfEvent,
    leasesOf: (given: readonly GivenToken[]) =>
      Promise.resolve(given.map(({ token }) => (isOfEvent(token) ? token : undefined))),
    noLease: (token: string) => new WaitlessError('not-found', `none: ${token}`),
  } as unknown as EventTokens;
  const answers = new EventAnswers({
    eventTokens,
    pull: {
      settle: (given: readonly AnsweredEvent[]) => {
        did.push(`settle ${given.map(({ lease, answer }) => `${lease as unknown as string}=${answer.kind}`).join()}`);
        return settle(given);
      },
      extend: () => Promise.resolve(0),
    } as never,
  });
  const sessionOf = (name: string): Session =>
    ({
      connection: {
        namespace: 'default',
        begin: () => {},
        done: () => {},
        ok: (ref: string, members: string) => did.push(`${name} ok ${ref}${members}`),
        fail: (error: WaitlessError, ref: string) => did.push(`${name} ${error.code} ${ref}`),
        failGuess: (error: WaitlessError, { ref }: { ref: string }) => did.push(`${name} ${error.code} ${ref}`),
      },
      workers: {
        free: (token: string) => (did.push(`${name} free ${token}`), { token }),
        keep: (token: string) => did.push(`${name} keep ${token}`),
        refill: () => did.push(`${name} refill`),
      },
    }) as unknown as Session;
  const frame = (token: string, ref: string): Frame => ({ at: '', ref, value: { token } }) as unknown as Frame;
  return { answers, did, sessionOf, frame };
}

test('what comes in one turn is one call, the next leases are asked for in the same turn, and each is told its own outcome', async () => {
  const outcomes = [{ kind: 'recorded' }, { kind: 'lost' }, { kind: 'repeated' }];
  const { answers, did, sessionOf, frame } = fixture(() => Promise.resolve(outcomes));
  const [a, b] = [sessionOf('a'), sessionOf('b')];
  answers.ack(a, frame('ev1', '1'));
  answers.ack(a, frame('operation', '2'));
  answers.nack(b, frame('ev2', '3'));
  answers.release(b, frame('ev3', '4'));
  await turn();
  await turn();
  assert.deepEqual(did, [
    'a free ev1',
    'b free ev2',
    'b free ev3',
    'settle ev1=ack,ev2=nack,ev3=released',
    'a refill',
    'b refill',
    'a ok 1,"status":"recorded"',
    'a not-found 2',
    'b lease-lost 3',
    'b ok 4,"status":"repeated"',
  ]);
});

test('while the store is away the leases are held on, and everybody is told', async () => {
  const { answers, did, sessionOf, frame } = fixture(() => Promise.reject(new WaitlessError('engine-unavailable')));
  const a = sessionOf('a');
  answers.ack(a, frame('ev1', '1'));
  answers.ack(a, frame('operation', '2'));
  await turn();
  await turn();
  assert.deepEqual(did, [
    'a free ev1',
    'settle ev1=ack',
    'a refill',
    'a keep ev1',
    'a engine-unavailable 1',
    'a engine-unavailable 2',
  ]);
});

test('the token says whether a frame is about an operation or an event, and an answer that events have not is refused', () => {
  const { answers, did, sessionOf, frame } = fixture(() => Promise.resolve([]));
  const both = answers.either(
    () => void did.push('operation'),
    () => void did.push('event'),
  );
  const one = answers.either(() => void did.push('operation'));
  const a = sessionOf('a');
  for (const token of ['ev1', 'x']) for (const handler of [both, one]) void handler(a, frame(token, token));
  void both(a, { at: '', ref: undefined, value: { token: 5 } } as unknown as Frame);
  assert.deepEqual(did, ['event', 'a not-found ev1', 'operation', 'operation', 'operation']);
});
