// Many ordering keys over many workers, some of which are killed with work in their hands: what each of them got is written down and judged.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { BatchOutcome, Lease } from '@waitless/protocol';
import { post } from '../support/http.ts';
import { leaseCall, leasedBody, reply } from '../support/pull-worker.ts';
import { serverFor } from '../support/server.ts';
import { spawnWorker } from '../support/spawn-worker.ts';

const mostInBatch = 1000;

/** What workers were given, judged line by line as it comes. */
class Ledger {
  /** By key: the newest message that was given out, whether an answer of it was sent, and whether that was taken. */
  readonly #last = new Map<string, { n: number; sent: boolean; taken: boolean }>();
  readonly wrong: string[] = [];
  repeats = 0;

  given(key: string, n: number): void {
    const last = this.#last.get(key) ?? { n: -1, sent: true, taken: true };
    if (n === last.n && !last.taken) this.repeats++;
    else if (n !== last.n + 1) this.wrong.push(`${key}: ${n} after ${last.n}`);
    else if (!last.sent) this.wrong.push(`${key}: ${n} while ${last.n} was under way`);
    this.#last.set(key, { n, sent: false, taken: false });
  }

  answering({ key, n }: { key: string; n: number }): void {
    const last = this.#last.get(key)!;
    if (last.n === n) last.sent = true;
  }

  answered({ key, n }: { key: string; n: number }): void {
    const last = this.#last.get(key)!;
    if (last.n === n) last.taken = true;
  }

  /** How far each key has come. */
  get ends(): number[] {
    return [...this.#last.values()].map(({ n }) => n);
  }
}

const messageOf = (lease: Lease): { key: string; n: number } => {
  const [key, n] = leasedBody(lease).toString().split(' ');
  return { key: key!, n: Number(n) };
};

/** `dies` of the workers are killed while they hold leases, one after another, and replaced. */
export async function runInOrder(
  t: TestContext,
  { keys, messages, workers, dies }: { keys: number; messages: number; workers: number; dies: number },
): Promise<void> {
  const services = { jobs: { target: { pull: true }, lease: '2s', retry: { maxAttempts: 100, initialDelay: '10ms' } } };
  const server = await serverFor(t, { services, data: 'folder' });
  const ledger = new Ledger();
  const all = Array.from({ length: keys * messages }, (_, i) => ({
    service: 'jobs',
    headers: { 'Ordering-Key': `key-${i % keys}` },
    body: `key-${i % keys} ${Math.floor(i / keys)}`,
  }));
  // The first of each key are held by a process that is killed, before anybody else can have them.
  await submitAll(server.url, all.slice(0, keys));
  const victim = await spawnWorker(t, { url: server.url, service: 'jobs', worker: 'victim', max: 5 });

  let left = all.length;
  let toDie = dies;
  let given = 0;
  const over = new AbortController();
  const every = Math.floor(all.length / (dies + 1));
  const work = async (worker: string): Promise<void> => {
    while (!over.signal.aborted) {
      const { leases } = await leaseCall(server.url, 'jobs', {
        worker,
        max: 5,
        waitSeconds: 10,
        signal: over.signal,
      }).catch((error: unknown) => {
        if (over.signal.aborted) return { leases: [] };
        throw error;
      });
      for (const lease of leases) {
        const { key, n } = messageOf(lease);
        ledger.given(key, n);
      }
      given += leases.length;
      // It never says another word, as one that was killed.
      if (toDie > 0 && leases.length > 0 && given > (dies - toDie + 1) * every) {
        toDie--;
        return work(`${worker}-again`);
      }
      for (const lease of leases) {
        const message = messageOf(lease);
        ledger.answering(message);
        const answer = await reply(server.url, lease.token, 'done');
        // On a busy machine a lease may have run out by its turn: somebody else has it, or will.
        if (answer.status === 409) continue;
        assert.equal(answer.status, 200, answer.text);
        ledger.answered(message);
        if (--left === 0) over.abort();
      }
    }
  };
  const working = Array.from({ length: workers }, (_, i) => work(`w${i}`));
  const submitting = submitAll(server.url, all.slice(keys));
  await victim.kill();
  await submitting;
  await Promise.all(working);

  assert.deepEqual(ledger.wrong, []);
  assert.deepEqual(
    ledger.ends,
    Array.from({ length: keys }, () => messages - 1),
  );
  assert.equal(toDie, 0, 'all that were to be killed were');
  assert.ok(ledger.repeats >= dies, `${ledger.repeats} messages were given out again`);
}

async function submitAll(url: string, items: readonly object[]): Promise<void> {
  for (let at = 0; at < items.length; at += mostInBatch) {
    const body = items.slice(at, at + mostInBatch);
    const outcomes = (await post(`${url}/v1/batch`, { body })).json<BatchOutcome[]>();
    assert.ok(outcomes.every(({ status }) => status === 202));
  }
}
