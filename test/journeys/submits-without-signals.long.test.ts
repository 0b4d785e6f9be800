// Every journey of submits and look-ups with every signal switched off: each promise must hold by the slow polls alone.
import { variant } from '../support/variant.ts';

variant.hints = false;
variant.pollMs = 20;

await import('./same-id.test.ts');
await import('./modes.test.ts');
await import('./idempotency.test.ts');
await import('./look-up.test.ts');
await import('./cancel.test.ts');
await import('./durability.test.ts');
await import('./batch.test.ts');
await import('./stored-results.test.ts');
await import('./results-by-key.test.ts');
await import('./pace.test.ts');
await import('./publish.test.ts');
await import('./topic-streams.test.ts');
await import('./topics.test.ts');
