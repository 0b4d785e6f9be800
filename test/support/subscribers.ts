// Subscribers of events as a client has them: what they got, how often, and what they said of it.
import assert from 'node:assert/strict';
import type { Agent } from 'node:http';
import { get, post, type Received, type Sent, send } from './http.ts';

export interface SubscriptionSeen {
  name: string;
  state: string;
  readTo: number;
  lag: { atLeast: number; atMost: number };
  oldestUnacknowledged: { position: number } | null;
  open: { waiting: number; sending: number; held: number; dead: number };
}

export interface EventLease {
  token: string;
  position: number;
  topic: string;
  attempt: number;
  event: Record<string, unknown> & { id: string };
}

export interface EventLeases {
  settled: { status: number; code?: string }[];
  leases: EventLease[];
}

export interface EventAsk {
  worker?: string;
  max?: number;
  waitSeconds?: number;
  leaseSeconds?: number;
  settle?: readonly Record<string, unknown>[];
}

export const subscriptionUrl = (base: string, name: string, more = ''): string =>
  `${base}/v1/subscriptions/${name}${more}`;

export async function putSubscription(
  base: string,
  name: string,
  document: Readonly<Record<string, unknown>>,
): Promise<SubscriptionSeen> {
  const answer = await send(subscriptionUrl(base, name), { method: 'PUT', body: document });
  assert.ok(answer.status === 200 || answer.status === 201, answer.text);
  return answer.json<SubscriptionSeen>();
}

export async function subscriptionAt(base: string, name: string, sent: Sent = {}): Promise<SubscriptionSeen> {
  const answer = await get(subscriptionUrl(base, name), sent);
  assert.equal(answer.status, 200, answer.text);
  return answer.json<SubscriptionSeen>();
}

/** One call of a puller, whatever the answer is. */
export const askForEvents = (base: string, name: string, ask: EventAsk, agent?: Agent): Promise<Received> =>
  post(subscriptionUrl(base, name, '/leases'), { body: { ...ask }, ...(agent ? { agent } : {}) });

export async function pullEvents(base: string, name: string, ask: EventAsk = {}, agent?: Agent): Promise<EventLeases> {
  const answer = await askForEvents(base, name, ask, agent);
  assert.equal(answer.status, 200, answer.text.slice(0, 300));
  return answer.json<EventLeases>();
}

/** It has looked at everything, and nothing of it is under way. */
export const isThrough = ({ lag, open }: SubscriptionSeen): boolean =>
  lag.atMost === 0 && open.waiting + open.sending + open.held === 0;

/** The cursor of a subscription as its readers know it: everything up to here is done with. */
export const floorOf = ({ readTo, oldestUnacknowledged }: SubscriptionSeen): number =>
  oldestUnacknowledged === null ? readTo : oldestUnacknowledged.position - 1;

/** What one subscriber got, by the id of the event. */
export class Got {
  readonly #deliveries = new Map<string, { position: number; data: string; times: number }[]>();
  total = 0;

  /** @param data JSON text of its data */
  add(id: string, { position, data }: { position: number; data: string }): void {
    this.total++;
    const known = this.#deliveries.get(id) ?? [];
    this.#deliveries.set(id, known);
    const same = known.find((one) => one.position === position && one.data === data);
    if (same) same.times++;
    else known.push({ position, data, times: 1 });
  }

  get size(): number {
    return this.#deliveries.size;
  }

  /** Deliveries beyond the first of each. */
  get repeated(): number {
    return this.total - [...this.#deliveries.values()].reduce((sum, ones) => sum + ones.length, 0);
  }

  *[Symbol.iterator](): Iterator<{ id: string; position: number; data: string }> {
    for (const [id, ones] of this.#deliveries) for (const { position, data } of ones) yield { id, position, data };
  }
}
