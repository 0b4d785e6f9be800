// Events of many keys to the workers of an ordered subscription, while workers and the server are killed; then the judgement of their order.
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { get, post, until } from '../support/http.ts';
import {
  askForEvents,
  type EventLeases,
  isThrough,
  putSubscription,
  subscriptionUrl,
  type SubscriptionSeen,
} from '../support/subscribers.ts';
import { eventsUrl } from '../support/topics.ts';
import type { Killable } from './event-kills-run.ts';
import { randomOf } from './kill-run.ts';

export interface EventOrder {
  keys: number;
  /** Events of each key. */
  each: number;
  workers: number;
  serverKills: number;
  /** Workers that go away with what they have in hand. */
  workerKills: number;
  seed: number;
  /** false is the positive control: nobody keeps the order. */
  ordered: boolean;
}

export interface EventOrderOutcome {
  /** Events that came before one of their key that was published earlier, or before that one had ended. */
  inversions: string[];
  /** Never delivered. */
  missing: string[];
  deliveries: number;
  faults: number;
}

const name = 'ordered';
const topic = 'accounts.moved';
/** What a dead worker held is somebody else's after so long. */
const leaseSeconds = 2;

/** What the workers noted of one key, by the number of its event. */
interface KeyNotes {
  /** Numbers in the order in which they came for the first time. */
  came: number[];
  /** Acknowledged, or said to be so by a worker that was not answered. */
  ended: Set<number>;
}

export async function eventOrder(t: TestContext, server: Killable, run: EventOrder): Promise<EventOrderOutcome> {
  const { keys, each, workers, serverKills, workerKills, seed, ordered } = run;
  t.diagnostic(`seed ${seed}`);
  const random = randomOf(seed);
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  await putSubscription(server.url(), name, {
    topic,
    target: { pull: true },
    ordered,
    retry: { maxAttempts: 1000, initialDelay: '1ms', maxDelay: '10ms' },
  });
  const notes = Array.from({ length: keys }, (): KeyNotes => ({ came: [], ended: new Set() }));
  const outcome: EventOrderOutcome = { inversions: [], missing: [], deliveries: 0, faults: 0 };
  const over = new AbortController();
  let published = 0;
  let delivered = 0;
  /** Workers that are to forget what they hold. */
  let toDie = 0;

  const note = (key: number, number: number): void => {
    outcome.deliveries++;
    const { came, ended } = notes[key]!;
    if (came.includes(number)) return;
    delivered++;
    for (let before = number - 1; before >= 0 && outcome.inversions.length < 20; before--)
      if (!ended.has(before)) outcome.inversions.push(`key ${key}: ${number} came while ${before} had not ended`);
    if (number < (came.at(-1) ?? -1)) outcome.inversions.push(`key ${key}: ${number} came after ${came.at(-1)}`);
    came.push(number);
  };

  /** One after another, so that they are committed in this order; an unknown one is published again under its id. */
  async function publishKey(key: number): Promise<void> {
    for (let number = 0; number < each && !over.signal.aborted;) {
      const answer = await post(eventsUrl(server.url(), topic), {
        body: JSON.stringify({ key, number }),
        headers: {
          'Content-Type': 'application/json',
          'Ordering-Key': `k${key}`,
          'Idempotency-Key': `${key}.${number}`,
        },
        agent,
      }).catch(() => undefined);
      if (answer?.status === 202) {
        number++;
        published++;
      } else {
        if (answer) assert.equal(answer.status, 503, answer.text);
        await pause(10);
      }
    }
  }

  async function worker(w: number): Promise<void> {
    let settle: { token: string; ack: true }[] = [];
    while (!over.signal.aborted) {
      const ask = { worker: `w${w}`, max: 4, waitSeconds: 1, leaseSeconds, settle };
      const answer = await askForEvents(server.url(), name, ask, agent).catch(() => undefined);
      if (answer?.status !== 200) {
        if (answer) assert.equal(answer.status, 503, answer.text);
        await pause(10);
        continue;
      }
      settle = [];
      const { leases } = answer.json<EventLeases>();
      for (const { event } of leases) {
        const { key, number } = event['data'] as { key: number; number: number };
        note(key, number);
      }
      if (toDie > 0 && leases.length > 0) {
        toDie--;
        continue;
      }
      if (random() < 0.3) await pause(random() * 5);
      for (const { token, event } of leases) {
        const { key, number } = event['data'] as { key: number; number: number };
        // Noted before it is said: from now on it may be heard.
        notes[key]!.ended.add(number);
        settle.push({ token, ack: true });
      }
    }
  }

  const faults = [...Array<'server'>(serverKills).fill('server'), ...Array<'worker'>(workerKills).fill('worker')];
  const working = Array.from({ length: workers }, (_, w) => worker(w));
  const publishing = Array.from({ length: keys }, (_, key) => publishKey(key));
  const stretch = (keys * each) / (faults.length + 1);
  try {
    for (let i = 0; i < faults.length; i++) {
      const at = Math.floor(random() * faults.length);
      [faults[i], faults[at]] = [faults[at]!, faults[i]!];
    }
    for (const [i, fault] of faults.entries()) {
      await until(() => (delivered >= stretch * (i + 0.5) ? true : undefined));
      if (fault === 'worker') toDie++;
      else await server.kill(random);
      outcome.faults++;
    }
    await Promise.all(publishing);
    assert.equal(published, keys * each);
    await until(async () => {
      const answer = await get(subscriptionUrl(server.url(), name), { agent }).catch(() => undefined);
      return answer?.status === 200 && isThrough(answer.json<SubscriptionSeen>()) ? true : undefined;
    }, 50);
  } finally {
    over.abort();
    await Promise.all([...working, ...publishing]);
    agent.destroy();
  }
  for (const [key, { came }] of notes.entries())
    for (let number = 0; number < each; number++) if (!came.includes(number)) outcome.missing.push(`${key}.${number}`);
  t.diagnostic(
    `${outcome.faults} faults, ${outcome.deliveries} deliveries of ${keys * each} events, ${outcome.inversions.length} inversions`,
  );
  return outcome;
}
