// The journeys of backends, workers and times once more with every signal switched off: a signal is a hint that may be lost, so each
// promise must hold by the slow polls alone. The tests are the very same; only the servers they start differ. Those in
// which somebody waits for what he is not told; all of them are in the long suite.
import { variant } from '../support/variant.ts';

variant.hints = false;
variant.pollMs = 20;

await import('./later.test.ts');
await import('./pull-workers.test.ts');
await import('./operation-events.test.ts');
await import('./told.test.ts');
await import('./polled-backends.test.ts');
await import('./callbacks.test.ts');
await import('./subscriptions.test.ts');
