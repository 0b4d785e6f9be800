// Credits without a server: what is given back and when, which of two frames holds, and what a stop changes.
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import { silentLog } from '../../lib/log.ts';
import type { Connection } from './connection.ts';
import type { Frame } from './read-frames.ts';
import { type WorkerDependencies, Workers } from './workers.ts';

interface Asked {
  max: number;
  signal: AbortSignal;
  give: (...positions: number[]) => void;
  refuse: (error: Error) => void;
}

/** A connection to nobody that works for subscriptions of which the test says what they hand out. */
function fixture({ known = ['s'] as string[], lateGift = false } = {}) {
  const sent: Record<string, unknown>[] = [];
  const asked: Asked[] = [];
  const settled: string[] = [];
  const opened = new Map<string, () => void>();
  const gone = new AbortController();
  const ends: (() => void)[] = [];
  const connection = {
    namespace: 'default',
    over: false,
    blocked: false,
    full: false,
    signal: gone.signal,
    atEnd: (act: () => void) => void ends.push(act),
    send: (frame: string) => void sent.push(JSON.parse(frame) as Record<string, unknown>),
    ok: (ref: string | undefined) => void sent.push({ type: 'ok', ref }),
    fail: (error: WaitlessError, ref: string | undefined) => void sent.push({ type: 'error', ref, code: error.code }),
    begin: () => {},
    done: () => {},
    ready: () => undefined,
  };
  const settings = { target: { kind: 'pull' } };
  const dependencies = {
    log: silentLog,
    subscriptions: {
      get: ({ name }: { name: string }) => (known.includes(name) ? settings : undefined),
      require: ({ name }: { name: string }) =>
        new Promise((resolve) => opened.set(`${name} ${opened.size}`, () => resolve(settings))),
    },
    pull: {
      take: ({ max, signal }: Asked) =>
        new Promise((resolve, reject) => {
          const give = (...positions: number[]): void => {
            const events = positions.map((position) => ({
              lease: { position, attempt: 1, leaseUntil: 0 },
              event: { topic: 'a', head: '{"id":"1"}', body: new Uint8Array(0) },
            }));
            resolve({ events, missed: undefined });
          };
          // What is in hand when the wait ends is handed out all the same.
          if (!lateGift) signal.addEventListener('abort', () => give());
          asked.push({ max, signal, give, refuse: reject });
        }),
      settle: (answers: { lease: string; answer: { kind: string } }[]) => {
        settled.push(...answers.map(({ lease, answer }) => `${answer.kind} ${lease}`));
        return Promise.resolve([]);
      },
    },
    eventTokens: {
      tokenOf: ({ position }: { position: number }) => `t${position}`,
      leaseOf: (token: string) => token,
      isLastAttempt: () => false,
    },
  } as unknown as WorkerDependencies;
  const workers = new Workers(dependencies, connection as unknown as Connection);
  const work = (value: Record<string, unknown>, ref?: string) =>
    workers.work({ at: '', ref, value: { subscription: 's', ...value } } as unknown as Frame);
  const tokens = (): unknown[] => sent.flatMap(({ type, token }) => (type === 'lease' ? [token] : []));
  const end = (): void => {
    connection.over = true;
    for (const act of ends) act();
  };
  return { workers, work, connection, sent, asked, settled, opened, tokens, end };
}

test('as many are asked for as there are credits left, and what is held goes back at the end of the connection', async () => {
  const { workers, work, asked, settled, tokens, end } = fixture();
  void work({ credits: 3 });
  asked[0]!.give(1, 2);
  await turn();
  assert.deepEqual(tokens(), ['t1', 't2']);
  assert.deepEqual(
    asked.map(({ max }) => max),
    [3, 1],
  );
  workers.free('t1');
  end();
  assert.deepEqual(settled, ['released t2']);
  assert.equal(asked[1]!.signal.aborted, true);
});

test('what comes for a peer that has gone, or leaves too much unread, goes back at once', async () => {
  const { work, connection, asked, settled, tokens, end } = fixture({ lateGift: true });
  void work({ credits: 3 });
  connection.full = true;
  asked[0]!.give(1);
  await turn();
  assert.deepEqual(settled, ['released t1']);
  connection.full = false;
  end();
  asked[1]!.give(2);
  await turn();
  assert.deepEqual(settled, ['released t1', 'released t2']);
  assert.deepEqual(tokens(), []);
});

test('a frame that had to look for its subscription does not undo one that came after it', async () => {
  const known: string[] = [];
  const { work, sent, asked, opened } = fixture({ known });
  const first = work({ credits: 5 }, 'first');
  known.push('s');
  void work({ credits: 0 }, 'second');
  opened.get('s 0')!();
  await first;
  await turn();
  assert.deepEqual(
    sent.map(({ ref }) => ref),
    ['second', 'first'],
  );
  assert.deepEqual(asked, [], 'the credits are 0');
});

test('one that is removed ends with an error, is asked no more, and can be worked for again', async () => {
  const { workers, work, sent, asked } = fixture();
  void work({ credits: 1 }, 'w');
  asked[0]!.refuse(new WaitlessError('unknown-subscription', 'gone'));
  await turn();
  assert.deepEqual(sent.at(-1), { type: 'error', ref: 'w', code: 'unknown-subscription' });
  workers.refill();
  assert.equal(asked.length, 1);
  void work({ credits: 1 });
  assert.equal(asked.length, 2);
});

test('while the server stops nothing is asked for, whatever frames come, and what is held stays held', async () => {
  const { workers, work, asked, settled, end } = fixture();
  void work({ credits: 2 });
  asked[0]!.give(1);
  await turn();
  workers.pause();
  void work({ credits: 9 });
  await turn();
  assert.equal(asked.length, 2);
  assert.equal(asked[1]!.signal.aborted, true);
  end();
  await workers.givenBack;
  assert.deepEqual(settled, []);
});
