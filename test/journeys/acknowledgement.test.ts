// The 202 depends on the disk alone, and those who wait for a result cost little.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { backendFor, gate, never } from '../support/backend.ts';
import { get, post } from '../support/http.ts';
import { resultOf, statusOf, submit, waitersReach } from '../support/operations.ts';
import { serverFor } from '../support/server.ts';
import { spawnServer } from '../support/spawn-server.ts';

test('the ack never waits for a backend: 500 acks while not one backend answer was sent', async (t) => {
  const backend = await backendFor(t, never);
  const server = await serverFor(t, {
    services: { score: { target: { url: backend.url }, concurrency: 4 } },
    fields: { shutdownTimeout: '1s' },
    data: 'folder',
  });

  const accepted = await Promise.all(Array.from({ length: 500 }, () => submit(server.url, 'score', { body: 'x' })));
  await backend.received(4);

  assert.equal(new Set(accepted.map(({ id }) => id)).size, 500);
  assert.equal(backend.answered, 0);
  assert.equal((await statusOf(accepted[499]!.status)).status, 'queued');
});

test('the ack never waits for a backend that cannot even be connected to', async (t) => {
  const backend = await backendFor(t);
  await backend.close();
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });

  const accepted = await Promise.all(Array.from({ length: 50 }, () => submit(server.url, 'score', { body: 'x' })));
  for (const { status } of accepted) assert.equal((await statusOf(status)).done, false);
});

/** Resident memory of other processes in bytes. */
async function residentBytes(processes: readonly { pid: number }[]): Promise<number> {
  let kilobytes = 0;
  for (const { pid } of processes)
    kilobytes += Number(/^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))![1]);
  return kilobytes * 1024;
}

const callers = 2000;
/** A socket with its parser and a held request is about 20 KB in Node; a server that kept a copy of something large for each would be far above. */
const mostBytesPerCaller = 48 * 1024;

test('2,000 callers waiting at once cost bounded memory, and every one of them gets its result', async (t) => {
  if (process.platform !== 'linux') return t.skip('skipped: resident memory of another process is read from /proc');
  const held = gate();
  const backend = await backendFor(t, async ({ body }) => {
    await held.opened;
    return { body };
  });
  const server = await spawnServer(t, { services: { score: { target: { url: backend.url }, concurrency: 16 } } });
  const waitFor = async (from: number, count: number): Promise<unknown[]> =>
    Promise.all(
      Array.from({ length: count }, (_, index) =>
        post(`${server.url}/v1/call/score`, { body: `caller ${from + index}`, headers: { Prefer: 'wait=50' } }),
      ),
    );
  // The first requests of a process cost what no later ones do: compiled code, page cache, buffers.
  const first = waitFor(0, 100);
  await waitersReach(server.url, (waiters) => waiters >= 100);
  const before = await residentBytes(server.nodes);

  const all = waitFor(100, callers);
  await waitersReach(server.url, (waiters) => waiters >= callers + 100);
  const grown = (await residentBytes(server.nodes)) - before;

  held.open();
  const answers = [...(await first), ...(await all)] as Awaited<ReturnType<typeof post>>[];
  for (const [index, answer] of answers.entries())
    assert.deepEqual([answer.status, answer.text], [200, `caller ${index}`]);
  t.diagnostic(`${callers} waiting callers: ${(grown / 1024 / callers).toFixed(1)} KB each`);
  assert.ok(grown < callers * mostBytesPerCaller, `${grown} bytes for ${callers} callers`);
});

test('callers who go away while they wait leave nothing behind and lose nothing', async (t) => {
  const held = gate();
  const backend = await backendFor(t, async () => {
    await held.opened;
    return { body: 'kept' };
  });
  const server = await serverFor(t, { services: { score: { target: { url: backend.url } } } });
  const accepted = await submit(server.url, 'score');

  const gone = new AbortController();
  const waiting = Array.from({ length: 50 }, () =>
    get(accepted.result, { headers: { Prefer: 'wait=50' }, signal: gone.signal }).catch(() => 'gone'),
  );
  await waitersReach(server.url, (waiters) => waiters >= 50);
  gone.abort();
  assert.ok((await Promise.all(waiting)).every((one) => one === 'gone'));
  await waitersReach(server.url, (waiters) => waiters === 0);

  held.open();
  assert.equal((await resultOf(accepted.result)).text, 'kept');
});
