// The journeys of submits and look-ups once more with every signal switched off: a signal is a hint that may be lost, so each promise
// must hold by the slow polls alone. The tests are the very same; only the servers they start differ. Those in
// which somebody waits for what he is not told; all of them are in the long suite.
import { variant } from '../support/variant.ts';

variant.hints = false;
variant.pollMs = 20;

await import('./idempotency.test.ts');
await import('./look-up.test.ts');
await import('./cancel.test.ts');
await import('./stored-results.test.ts');
await import('./results-by-key.test.ts');
await import('./pace.test.ts');
await import('./publish.test.ts');
await import('./topic-streams.test.ts');
