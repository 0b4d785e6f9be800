// Ends of operations raced against the moment in which somebody begins to listen: everyone must be told, whichever outlet they listen at.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { BatchOutcome, LeaseResponse } from '@waitless/protocol';
import { eventStream } from '../support/event-stream.ts';
import { post } from '../support/http.ts';
import { ended, waitersReach } from '../support/operations.ts';
import { reply } from '../support/pull-worker.ts';
import { serverFor, type TestServer } from '../support/server.ts';
import { type Channel, channelTo } from '../support/web-socket.ts';

const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** How one who begins to listen now learns of the end: the id of the event by which they did. */
type Outlet = (id: string) => Promise<string>;

function outletsOf(t: TestContext, server: TestServer, socket: Channel): Readonly<Record<string, Outlet>> {
  const streamed = async (path: string): Promise<string> =>
    String((await (await eventStream(t, server.url + path)).ended()).at(-1)!.data['eventId']);
  return {
    poll: async (id) => (await ended(`${server.url}/v1/operations/${id}`)).eventId,
    events: (id) => streamed(`/v1/operations/${id}/events`),
    stream: (id) => streamed(`/v1/stream?operations=${id}`),
    socket: async (id) => {
      socket.send({ type: 'watch', ref: id, operations: [id] });
      return (await socket.frame('event', ({ event }) => event.id === id && event.done)).id;
    },
  };
}

/** So many operations that are under way: id and lease of each. */
async function begun(server: TestServer, count: number): Promise<{ id: string; token: string }[]> {
  const items = Array.from({ length: count }, (_, i) => ({ service: 'jobs', body: `${i}` }));
  const accepted = (await post(`${server.url}/v1/batch`, { body: items })).json<BatchOutcome[]>();
  assert.ok(accepted.every(({ status }) => status === 202));
  const found: { id: string; token: string }[] = [];
  while (found.length < count) {
    const body = { max: count - found.length, waitSeconds: 10, leaseSeconds: 600 };
    const { leases } = (await post(`${server.url}/v1/services/jobs/leases`, { body })).json<LeaseResponse>();
    found.push(...leases.map(({ token, operation }) => ({ id: operation.id, token })));
  }
  return found;
}

/** Each of `rounds` ends `count` operations, each 20 ms before to 20 ms after somebody begins to listen for it. */
export async function raceEndsAgainstListeners(
  t: TestContext,
  { rounds, count }: { rounds: number; count: number },
): Promise<void> {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true } } } });
  const socket = await channelTo(t, server.url);
  const outlets = Object.entries(outletsOf(t, server, socket));
  for (let round = 0; round < rounds; round++) {
    const work = await begun(server, count);
    const told = await Promise.all(
      work.map(async ({ id, token }, i) => {
        const [name, listen] = outlets[i % outlets.length]!;
        const offset = (Math.floor(i / outlets.length) % 41) - 20;
        const answered = after(Math.max(0, offset)).then(() => reply(server.url, token, 'done'));
        await after(Math.max(0, -offset));
        const eventId = await listen(id);
        assert.equal((await answered).status, 200);
        return `${name} ${eventId}`;
      }),
    );
    // Accepted, begun, ended: the end is the third that happened to each.
    assert.deepEqual(
      told,
      work.map(({ id }, i) => `${outlets[i % outlets.length]![0]} ${id}_3`),
    );
  }
  await socket.close();
  await waitersReach(server.url, (waiters) => waiters === 0);
}
