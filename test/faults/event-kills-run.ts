// Publishers and subscribers of every kind while the server is killed again and again, then the judgement: what the short and the long runs share.
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { backendFor } from '../support/backend.ts';
import { eventStream, type Told } from '../support/event-stream.ts';
import { sha256 } from '../support/fixtures.ts';
import { get, until } from '../support/http.ts';
import { classify, Ledger, type LedgerLine, type Seen, summary, type Verdict, whyVoid } from '../support/ledger.ts';
import { publishLoad } from '../support/publish-load.ts';
import { leaseCall, leasedBody } from '../support/pull-worker.ts';
import { temporaryFolder } from '../support/server.ts';
import {
  askForEvents,
  type EventLeases,
  floorOf,
  Got,
  isThrough,
  putSubscription,
  subscriptionUrl,
  type SubscriptionSeen,
} from '../support/subscribers.ts';
import { type EventPage, eventsUrl } from '../support/topics.ts';
import { randomOf } from './kill-run.ts';

/** The server, of one node or of several, as those who use and kill it see it. */
export interface Killable {
  /** The next one of those to ask. */
  url(): string;
  /** Kills one, or the only one, and starts it again. */
  kill(random: () => number): Promise<void>;
}

export interface EventKills {
  events: number;
  kills: number;
  publishers: number;
  /** Events of one request. */
  batch: number;
  seed: number;
  /** The positive control: a puller that says it has the event before it has it, and dies when the server does. */
  careless?: boolean;
}

export interface EventKillsOutcome {
  /** By subscriber. */
  verdicts: Record<string, Verdict>;
  /** Cursors that were seen at an earlier place than before. */
  wentBack: string[];
  /** Deliveries beyond the first, by subscriber. */
  repeated: Record<string, number>;
  /** How many of them may be: what was out at each kill, and what was handed back. */
  allowed: Record<string, number>;
  void: string | undefined;
}

/**
 * What the server of a run must have: a service that events become operations of. They are looked at when all is over, which on a busy
 * machine is later than the ten minutes that an operation has by default: it would have failed by then, and count as lost.
 */
export const mirrorService = { mirror: { target: { pull: true }, timeout: '7d' } } as const;

const pulled = { name: 'pulled', maxInFlight: 96, workers: 3 } as const;
const pushed = { name: 'pushed', maxInFlight: 8 } as const;
const started = { name: 'started' } as const;
const pattern = 'load.**';
const neverGivenUp = { maxAttempts: 1000, initialDelay: '10ms', maxDelay: '50ms' } as const;

const textOf = (event: Record<string, unknown>): string => JSON.stringify(event['data']);

interface Running {
  server: Killable;
  agent: Agent;
  over: AbortSignal;
  failed: AbortSignal;
}

export async function eventKills(
  t: TestContext,
  server: Killable,
  { events, kills, publishers, batch, seed, careless = false }: EventKills,
): Promise<EventKillsOutcome> {
  t.diagnostic(`seed ${seed}`);
  const begun = Date.now();
  const random = randomOf(seed);
  const ledger = new Ledger(join(await temporaryFolder(t), 'ledger'));
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const over = new AbortController();
  /** A server that did not come back: nobody waits for it any more. */
  const failed = new AbortController();
  const run: Running = { server, agent, over: over.signal, failed: failed.signal };

  const received = new Got();
  const receiver = await backendFor(t, ({ body }) => {
    const event = JSON.parse(body.toString()) as { id: string };
    received.add(event.id, { position: 0, data: textOf(event) });
    return { status: 204 };
  });
  const documents = {
    [pulled.name]: { target: { pull: true }, maxInFlight: pulled.maxInFlight, lease: '2s' },
    [pushed.name]: { target: { url: receiver.url }, maxInFlight: pushed.maxInFlight },
    [started.name]: { target: { service: 'mirror' } },
  };
  for (const [name, document] of Object.entries(documents))
    await putSubscription(server.url(), name, { topic: pattern, retry: neverGivenUp, ...document });

  const taken = new Got();
  const handedBack = { events: 0 };
  const workers = Array.from({ length: pulled.workers }, (_, w) =>
    puller(run, { worker: `w${w}`, got: taken, random, careless, handedBack }),
  );
  const reading = reader(run);
  const listening = listener(t, run);
  const wentBack: string[] = [];
  const watching = watchCursors(run, { names: Object.keys(documents), wentBack });

  const stretch = (events * 0.9) / (kills + 1);
  const killAt = Array.from({ length: kills }, (_, i) => Math.round(stretch * (i + 1 + (random() - 0.5) * 0.6)));
  const faultTimes: number[] = [];
  /** Resolves when what was killed last is back. */
  let back: Promise<void> = Promise.resolve();
  let acknowledged = 0;
  let isOver = false;
  let progress = (): void => {};
  async function killInTurn(): Promise<void> {
    for (const count of killAt) {
      await new Promise<void>((resolve) => {
        progress = () => {
          if (isOver || acknowledged >= count) resolve();
        };
        progress();
      });
      if (isOver) return;
      await pause(random() * 20);
      faultTimes.push(Date.now());
      back = server.kill(random).catch((error: unknown) => {
        failed.abort();
        over.abort();
        throw error;
      });
      await back;
    }
  }
  const load = publishLoad({
    ledger,
    publishers,
    count: events,
    batch,
    over: failed.signal,
    topicOf: (index) => `load.t${index % 7}`,
    server: async () => {
      // With others alive nobody waits for the one that is down, unless the next should be killed already.
      if (acknowledged >= (killAt[faultTimes.length] ?? Number.POSITIVE_INFINITY)) await back.catch(() => {});
      return server.url();
    },
    after: async (some) => {
      acknowledged += some;
      progress();
      if (some === 0) await pause(5);
    },
  });
  await Promise.all([
    load.finally(() => {
      isOver = true;
      progress();
    }),
    killInTurn(),
  ]);
  t.diagnostic(`load ${Date.now() - begun} ms`);

  await Promise.all(
    Object.keys(documents).map(async (name) => {
      await until(async () => {
        const seen = await seenAt(server, name, agent);
        return seen && isThrough(seen) ? true : undefined;
      }, 50);
      t.diagnostic(`${name} was through after ${Date.now() - begun} ms`);
    }),
  );
  over.abort();
  await Promise.all([...workers, watching]);
  const { got: read, cursor } = await reading;
  const heard = await listening(cursor);
  const mirrored = await operationsOf(server.url(), agent);
  agent.destroy();

  const told = ledger.last('publish');
  const subscribers: Record<string, Got> = { pulled: taken, pushed: received, started: mirrored, heard, read };
  const verdicts = Object.fromEntries(
    Object.entries(subscribers).map(([name, got]) => [name, classify(told, seenBy(got, told))]),
  );
  const repeated = Object.fromEntries(Object.entries(subscribers).map(([name, got]) => [name, got.repeated]));
  for (const [name, verdict] of Object.entries(verdicts))
    t.diagnostic(`${name}: ${summary(verdict)}; ${repeated[name]} repeated`);
  return {
    verdicts,
    wentBack,
    repeated,
    allowed: {
      pulled: kills * pulled.maxInFlight + handedBack.events,
      pushed: kills * pushed.maxInFlight,
      started: 0,
      heard: 0,
      read: 0,
    },
    void: faultTimes.length < kills ? `only ${faultTimes.length} kills` : whyVoid(ledger.lines, faultTimes),
  };
}

/** Where the subscriber is not told a position, it is the one that the publisher was told. */
const seenBy = (got: Got, told: ReadonlyMap<string, LedgerLine>): Seen[] =>
  [...got].map(({ id, position, data }) => ({
    key: id,
    id: position === 0 ? (told.get(id)?.id ?? '') : String(position),
    bodySha: sha256(Buffer.from(data)),
    resultShas: [],
    pending: false,
  }));

async function seenAt(server: Killable, name: string, agent: Agent): Promise<SubscriptionSeen | undefined> {
  const answer = await get(subscriptionUrl(server.url(), name), { agent }).catch(() => undefined);
  return answer?.status === 200 ? answer.json<SubscriptionSeen>() : undefined;
}

/** Takes and acknowledges; what it said of an event is said again until it is heard. */
async function puller(
  { server, agent, over, failed }: Running,
  {
    worker,
    got,
    random,
    careless,
    handedBack,
  }: { worker: string; got: Got; random: () => number; careless: boolean; handedBack: { events: number } },
): Promise<void> {
  let settle: Record<string, unknown>[] = [];
  /** Of the careless one: acknowledged, and not yet where it would outlive it. */
  let inHand: (() => void)[] = [];
  while (!failed.aborted && (!over.aborted || settle.length > 0)) {
    const ask = { worker, max: 32, waitSeconds: over.aborted ? 0 : 1, settle };
    const answer = await askForEvents(server.url(), pulled.name, ask, agent).catch(() => undefined);
    if (answer?.status !== 200) {
      // 503 and no answer alike: said again. A refusal of another kind is a mistake of ours or of the server.
      if (answer) assert.equal(answer.status, 503, answer.text);
      inHand = [];
      await pause(10);
      continue;
    }
    const { leases, settled } = answer.json<EventLeases>();
    for (const { status } of settled) assert.ok(status === 200 || status === 409, `an answer got ${status}`);
    for (const record of inHand) record();
    inHand = [];
    settle = [];
    for (const { token, event, position } of leases) {
      const record = (): void => got.add(event.id, { position, data: textOf(event) });
      if (careless) inHand.push(record);
      else record();
      const isNacked = !careless && random() < 0.02;
      if (isNacked) handedBack.events++;
      settle.push(isNacked ? { token, nack: { retryAfter: 0 } } : { token, ack: true });
    }
    if (!careless || settle.length === 0) continue;
    const said = await askForEvents(server.url(), pulled.name, { worker, max: 1, settle }, agent).catch(
      () => undefined,
    );
    settle = [];
    if (said?.status !== 200) inHand = [];
    else for (const { token } of said.json<EventLeases>().leases) settle.push({ token, release: true });
    // The work is done a moment later.
    await pause(5);
  }
}

/** Reads on from the place that it keeps itself; what it reads comes once and at growing positions. */
async function reader({ server, agent, over, failed }: Running): Promise<{ got: Got; cursor: string }> {
  const got = new Got();
  let cursor = '0';
  let last = 0;
  for (let isLast = false; ;) {
    const url = eventsUrl(server.url(), pattern, `?limit=500&after=${cursor}`);
    const answer = await get(url, { agent }).catch(() => undefined);
    if (answer?.status !== 200) {
      if (failed.aborted) return { got, cursor };
      await pause(10);
      continue;
    }
    const page = answer.json<EventPage>();
    assert.equal(page.reset, undefined);
    for (const { position, event } of page.items) {
      assert.ok(position > last, `${position} came after ${last}`);
      last = position;
      got.add(event['id'] as string, { position, data: textOf(event) });
    }
    cursor = page.cursor;
    if (isLast && page.next === null) return { got, cursor };
    isLast = over.aborted;
    if (page.next === null && !isLast) await pause(20);
  }
}

/** Listens to the stream, and goes on after the last event it heard wherever that was cut; what this gives resolves once it has heard the one at a place. */
function listener(t: TestContext, { server, failed }: Running): (until: string) => Promise<Got> {
  const got = new Got();
  const isHeard = Promise.withResolvers<void>();
  let lastEventId: string | undefined;
  let last: string | undefined;
  let cut = (): void => {};
  const look = (): void => {
    if (last === undefined || last !== lastEventId) return;
    isHeard.resolve();
    cut();
  };
  async function listen(): Promise<void> {
    while (!failed.aborted && (last === undefined || last !== lastEventId)) {
      const url = eventsUrl(server.url(), pattern, '?from=start');
      const stream = await eventStream(t, url, { lastEventId }).catch(() => undefined);
      if (stream?.status !== 200) {
        stream?.destroy();
        await pause(10);
        continue;
      }
      cut = () => stream.destroy();
      let heard = 0;
      // Called with each event: none of them is waited for.
      const told = stream.when(() => {
        for (; heard < stream.events.length; heard++) {
          const { id, event, data }: Told = stream.events[heard]!;
          assert.equal(event, 'event');
          lastEventId = id;
          got.add(data['id'] as string, { position: 0, data: textOf(data) });
        }
        look();
        return false;
      });
      await told.catch(() => {});
    }
  }
  const listening = listen();
  listening.catch((error: unknown) => isHeard.reject(error));
  return async (until) => {
    last = until;
    look();
    await Promise.race([isHeard.promise, listening]);
    return got;
  };
}

/** Asks again and again where the subscriptions are; neither what they have looked at nor what is done with may become less. */
async function watchCursors(
  { server, agent, over }: Running,
  { names, wentBack }: { names: string[]; wentBack: string[] },
): Promise<void> {
  const known = new Map<string, { readTo: number; floor: number }>();
  while (!over.aborted) {
    for (const name of names) {
      const seen = await seenAt(server, name, agent);
      if (!seen) continue;
      const now = { readTo: seen.readTo, floor: floorOf(seen) };
      const before = known.get(name);
      if (before && (now.readTo < before.readTo || now.floor < before.floor))
        wentBack.push(`${name}: ${JSON.stringify(before)}, then ${JSON.stringify(now)}`);
      known.set(name, now);
    }
    await pause(5);
  }
}

/** Every operation that an event has become, by the id of the event. */
async function operationsOf(url: string, agent: Agent): Promise<Got> {
  const got = new Got();
  let settle: { token: string; reply: { body: string } }[] = [];
  for (;;) {
    const { leases } = await leaseCall(url, 'mirror', { max: 200, leaseSeconds: 60, settle, agent });
    if (leases.length === 0) return got;
    settle = leases.map(({ token }) => ({ token, reply: { body: '' } }));
    for (const lease of leases) {
      const id = lease.request.headers.find(([name]) => name.toLowerCase() === 'ce-id')?.[1] ?? 'nameless';
      got.add(id, { position: 0, data: leasedBody(lease).toString() });
    }
  }
}
