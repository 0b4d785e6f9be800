// The promises of the engine interface as cases. An engine's own test opens a store and runs these; the runner is handed in,
// so that engines outside this repository can use them too.
import assert from 'node:assert/strict';
import { deliveryCases } from './delivery-cases.ts';
import { deliveryJoiningCases } from './delivery-joining-cases.ts';
import { deliveryKeepingCases } from './delivery-keeping-cases.ts';
import { deliveryLeaseCases } from './delivery-lease-cases.ts';
import { deliveryRetentionCases } from './delivery-retention-cases.ts';
import { documentCases } from './document-cases.ts';
import { type EngineUnderTest, fixture } from './fixture.ts';
import { fullCases } from './full-cases.ts';
import { idempotencyCases } from './idempotency-cases.ts';
import { leaseCases } from './lease-cases.ts';
import { logCases } from './log-cases.ts';
import { nodeCases } from './node-cases.ts';
import { orderingCases } from './ordering-cases.ts';
import { outletCases } from './outlet-cases.ts';
import { pollCases } from './poll-cases.ts';
import { readCases } from './read-cases.ts';
import { restartCases } from './restart-cases.ts';
import { settleCases } from './settle-cases.ts';
import { sharedCases } from './shared-cases.ts';
import { sharedDeliveryCases } from './shared-delivery-cases.ts';
import { sharedLeaseCases } from './shared-lease-cases.ts';
import { sharingCases } from './sharing-cases.ts';
import { sharedOrderingCases } from './shared-ordering-cases.ts';
import { sharedSharingCases } from './shared-sharing-cases.ts';
import { sharedSubscriptionCases } from './shared-subscription-cases.ts';
import { sharedSweepCases } from './shared-sweep-cases.ts';
import { storedCases } from './stored-cases.ts';
import { submitCases } from './submit-cases.ts';
import { subscriptionCases } from './subscription-cases.ts';
import { sweepCases } from './sweep-cases.ts';
import { topicCases } from './topic-cases.ts';
import { transitionCases } from './transition-cases.ts';

export type TestFunction = (name: string, run: () => Promise<void>) => unknown;

const families = [
  submitCases,
  idempotencyCases,
  leaseCases,
  settleCases,
  orderingCases,
  sweepCases,
  readCases,
  logCases,
  topicCases,
  transitionCases,
  subscriptionCases,
  restartCases,
  sharingCases,
  storedCases,
  fullCases,
  pollCases,
  documentCases,
  deliveryCases,
  deliveryJoiningCases,
  deliveryLeaseCases,
  outletCases,
  deliveryKeepingCases,
  deliveryRetentionCases,
  sharedCases,
  sharedSharingCases,
  sharedLeaseCases,
  sharedSweepCases,
  sharedDeliveryCases,
  sharedOrderingCases,
  sharedSubscriptionCases,
  nodeCases,
];

/**
 * @param durable the store survives the process
 * @param shared several engines may have the same store open
 */
export function conformance(
  under: EngineUnderTest,
  { test, durable, shared }: { test: TestFunction; durable: boolean; shared: boolean },
): void {
  const run = (name: string, body: (f: Awaited<ReturnType<typeof fixture>>) => Promise<void>): unknown =>
    test(`${under.name}: ${name}`, async () => {
      const f = await fixture(under);
      try {
        await body(f);
      } catch (error) {
        // What went wrong first is what is told.
        await f.end().catch(() => {});
        throw error;
      }
      await f.end();
    });
  // Without this an engine could pass by leaving out the cases it fails.
  run('its features tell what it is tested as', (f) => {
    const { features } = f.engine;
    assert.deepEqual({ durable: features.durable, shared: features.shared }, { durable, shared });
    return Promise.resolve();
  });
  for (const one of families.flat()) {
    if (one.durableOnly && !durable) continue;
    if (one.sharedOnly && !shared) continue;
    run(one.name, (f) => one.run(f));
  }
}
