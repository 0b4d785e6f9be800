// The promises of the engine interface as cases. An engine's own test opens a store and runs these; the runner is handed in,
// so that engines outside this repository can use them too.
import { idempotencyCases } from './idempotency-cases.ts';
import { leaseCases } from './lease-cases.ts';
import { readCases } from './read-cases.ts';
import { restartCases } from './restart-cases.ts';
import { settleCases } from './settle-cases.ts';
import { submitCases } from './submit-cases.ts';
import { sweepCases } from './sweep-cases.ts';
import { type EngineUnderTest, fixture } from './fixture.ts';

export type TestFunction = (name: string, run: () => Promise<void>) => unknown;

export function conformance(under: EngineUnderTest, { test, durable }: { test: TestFunction; durable: boolean }): void {
  const families = { submitCases, idempotencyCases, leaseCases, settleCases, sweepCases, readCases, restartCases };
  for (const cases of Object.values(families)) {
    for (const one of cases) {
      if (one.durableOnly && !durable) continue;
      test(`${under.name}: ${one.name}`, async () => {
        const f = await fixture(under);
        try {
          await one.run(f);
        } finally {
          await f.end();
        }
      });
    }
  }
}
