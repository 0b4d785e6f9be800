// Guesses ids of operations and tokens of leases, as somebody would who knows one of each and how they are made.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Agent } from 'node:http';
import type { TestContext } from 'node:test';
import { cleanUp } from '../support/cleanup.ts';
import { get, post, type Received } from '../support/http.ts';
import { assertProblem, statusOf, submit } from '../support/operations.ts';
import { leaseCall, reply, takeOne } from '../support/pull-worker.ts';
import { serverFor } from '../support/server.ts';

/** Requests under way at once. */
const atOnce = 32;
/** What an address may ask for by mistake, as the documentation says. */
const allowance = 1000;

const letters = '0123456789abcdef';

/** The same length, one letter another. */
function neighbour(known: string, number: number): string {
  const at = number % known.length;
  const step = 1 + (Math.floor(number / known.length) % (letters.length - 1));
  const other = letters[(Math.max(0, letters.indexOf(known[at]!)) + step) % letters.length]!;
  return known.slice(0, at) + (other === known[at] ? 'z' : other) + known.slice(at + 1);
}

export async function guess(t: TestContext, guesses: number): Promise<void> {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true }, lease: '1h' } } });
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce });
  cleanUp(t, () => agent.destroy());
  const known = await submit(server.url, 'jobs', { body: 'secret' });
  const { token } = await takeOne(server.url, 'jobs');
  for (let i = 0; i < 20; i++) await submit(server.url, 'jobs', { body: 'secret' });

  const tries: ((i: number) => Promise<Received>)[] = [
    (i) => get(`${server.url}/v1/operations/${neighbour(known.id, i)}`, { agent }),
    () =>
      get(
        `${server.url}/v1/operations/${known.id.slice(0, 4)}${randomBytes(24)
          .toString('hex')
          .slice(0, known.id.length - 4)}`,
        { agent },
      ),
    (i) => get(`${server.url}/v1/operations/${neighbour(known.id, i + 7)}x/result`, { agent }),
    (i) => post(`${server.url}/v1/leases/${neighbour(token, i)}/reply`, { body: `forged ${i}`, agent }),
    () => post(`${server.url}/v1/leases/${randomBytes(30).toString('base64url')}/reply`, { body: 'forged', agent }),
  ];
  const seen = new Map<number, number>();
  let next = 0;
  let last: Received | undefined;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let i = next++; i < guesses; i = next++) {
        const answer = await tries[i % tries.length]!(Math.floor(i / tries.length));
        seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1);
        if (answer.status === 429) last = answer;
      }
    }),
  );
  assert.deepEqual(
    [...seen.keys()].sort((a, b) => a - b),
    [404, 429],
    'not one of them was anything',
  );
  assert.ok(seen.get(404)! <= 2 * allowance, `${seen.get(404)} of ${guesses} were looked at`);
  assertProblem(last!, 429, 'rate-limited');
  assert.ok(Number(last!.headers['retry-after']) >= 1);
  assert.match(last!.headers['ratelimit-policy']!, /^"unknown-ids";q=1000$/);
  assert.match(last!.headers['ratelimit']!, /^"unknown-ids";r=0;t=\d+$/);

  // Honest callers behind the same address are served as ever.
  assert.equal((await statusOf(known.status)).status, 'running', 'what was forged is not its result');
  assert.equal((await get(known.result)).status, 202);
  assert.equal((await reply(server.url, token, 'the real one')).status, 200);
  assert.equal((await get(known.result)).text, 'the real one');
  assert.equal((await leaseCall(server.url, 'jobs', { max: 5 })).leases.length, 5);
}
