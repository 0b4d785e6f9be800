// Every journey of backends, workers and times with every signal switched off: each promise must hold by the slow polls alone.
import { variant } from '../support/variant.ts';

variant.hints = false;
variant.pollMs = 20;

await import('./backend-answers.test.ts');
await import('./results.test.ts');
await import('./later.test.ts');
await import('./pull-workers.test.ts');
await import('./ordering.test.ts');
await import('./transitions.test.ts');
await import('./operation-events.test.ts');
await import('./told.test.ts');
await import('./stream.test.ts');
await import('./websocket.test.ts');
await import('./sdk-push.test.ts');
await import('./sdk-events.test.ts');
await import('./time.test.ts');
await import('./polled-backends.test.ts');
await import('./callbacks.test.ts');
await import('./push-subscriptions.test.ts');
await import('./subscriptions.test.ts');
