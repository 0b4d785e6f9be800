// Short ways to have somebody told of an operation, for the cases about deliveries.
import assert from 'node:assert/strict';
import type {
  CallbackWanted,
  DeliveriesWanted,
  DeliveryRecord,
  DeliverySettlement,
  DeliverySettleOutcome,
  LeasedDelivery,
  OutletNews,
} from '../deliveries.ts';
import type { Submission } from '../engine.ts';
import { type Fixture, type Node, result } from './fixture.ts';

/** A node and the clock it goes by. */
export type Place = Pick<Fixture, 'clock'> & Pick<Node, 'engine' | 'submission' | 'submit' | 'lease' | 'settle'>;

/** `at` names the place that is told: its outlet and the beginning of its address. */
export const callback = (at = 'shop', more: Partial<CallbackWanted> = {}): CallbackWanted => ({
  url: `https://${at}.example/hook`,
  outlet: `https://${at}.example`,
  correlationId: null,
  progress: false,
  thin: false,
  base: 'http://waitless.example',
  ...more,
});

/** Submits one and ends it, so that there is something to tell at once; answers the operation's number. */
export async function tell(f: Place, wanted = callback(), more: Partial<Submission> = {}): Promise<number> {
  const seq = await f.submit({ callback: wanted, ...more });
  const [lease, ...others] = await f.lease();
  assert.deepEqual([lease?.seq, others.length], [seq, 0], 'nothing else is ready');
  const [outcome] = await f.settle(lease!, { to: 'succeeded', result: result('x') });
  assert.equal(outcome?.kind, 'recorded');
  return seq;
}

/** The same of so many at once, for one place. */
export async function tellMany(f: Place, count: number, at = 'shop'): Promise<void> {
  const batch = await Promise.all(Array.from({ length: count }, () => f.submission({ callback: callback(at) })));
  await f.engine.submit(batch, f.clock.now());
  const leases = await f.lease({ max: count });
  assert.equal(leases.length, count);
  const transition = { to: 'succeeded' as const, result: result('x') };
  await f.engine.settle(
    leases.map(({ seq, leaseNo }) => ({ seq, leaseNo, transition, backendStatus: 200 })),
    f.clock.now(),
  );
}

export const leaseDeliveries = (f: Place, more: Partial<DeliveriesWanted> = {}): Promise<LeasedDelivery[]> =>
  f.engine.leaseDeliveries({ max: 100, leaseMs: 30_000, maxInFlight: 100, ...more }, f.clock.now());

/** One that is due, of all that may be. */
export async function leaseOne(f: Place, more: Partial<DeliveriesWanted> = {}): Promise<LeasedDelivery> {
  const [one] = await leaseDeliveries(f, { max: 1, ...more });
  assert.ok(one, 'a delivery is due');
  return one;
}

export const well: OutletNews = { kind: 'well' };
export const noNews: OutletNews = { kind: 'none' };
export const ill = (f: Place, { tripAt = 2, forMs = 10_000 } = {}): OutletNews => ({
  kind: 'ill',
  tripAt,
  blockUntil: f.clock.now() + forMs,
});

type Verdict = DeliverySettlement['verdict'];

export const later = (f: Place, inMs = 60_000, failed = true) => ({
  to: 'waiting' as const,
  at: f.clock.now() + inMs,
  failed,
});

/** What is written of a try that began now and took 5 ms. */
export function settlement(
  f: Place,
  { number, leaseNo }: Pick<LeasedDelivery, 'number' | 'leaseNo'>,
  verdict: Verdict = { to: 'delivered' },
  outlet: OutletNews = verdict.to === 'delivered' ? well : noNews,
): DeliverySettlement {
  const failed = verdict.to !== 'delivered';
  const tried = {
    at: f.clock.now(),
    durationMs: 5,
    status: failed ? 500 : 204,
    code: failed ? 'bad-status' : null,
    detail: failed ? 'it said 500' : null,
    answer: failed ? Buffer.from([0, 255, 10]) : null,
  };
  return { number, leaseNo, tried, verdict, outlet };
}

export async function settleDelivery(
  f: Place,
  lease: Pick<LeasedDelivery, 'number' | 'leaseNo'>,
  verdict?: Verdict,
  outlet?: OutletNews,
): Promise<DeliverySettleOutcome> {
  const [outcome] = await f.engine.settleDeliveries([settlement(f, lease, verdict, outlet)], f.clock.now());
  return outcome!;
}

/** Everything that tells of an operation, oldest first. */
export async function deliveriesOf(f: Place, seq: number): Promise<DeliveryRecord[]> {
  return (await f.engine.deliveries({ namespace: 'default', seq, limit: 1000 })).reverse();
}

/** Everything that is to be told of an operation, shortly. */
export async function toldOf(f: Place, seq: number): Promise<[outlet: string, version: number][]> {
  return (await deliveriesOf(f, seq)).map(({ callback: { outlet }, version }) => [outlet, version]);
}

export async function versionOf(f: Place, seq: number): Promise<number> {
  return (await f.engine.recordsOf([seq]))[0]!.version;
}

export async function deliveryOf(f: Place, number: number): Promise<DeliveryRecord> {
  const found = await f.engine.delivery(number, 'default');
  assert.ok(found, 'the delivery is there');
  return found.delivery;
}

export const numbersOf = (deliveries: readonly { number: number }[]): number[] =>
  deliveries.map(({ number }) => number).sort((a, b) => a - b);

/** The places that deliveries go to, in alphabetical order. */
export const placesOf = (deliveries: readonly { callback: CallbackWanted }[]): string[] =>
  deliveries.map(({ callback: { outlet } }) => outlet.replace(/^https:\/\/|\.example$/g, '')).sort();
