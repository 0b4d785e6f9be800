// The journeys of backends, workers and times on two nodes that tell each other nothing: what one has written the other finds by its slow polls alone.
import { onPostgres } from '../support/on-postgres.ts';

await onPostgres({ nodes: 2, hints: false, pollMs: 20 }, [
  () => import('./backend-answers.test.ts'),
  () => import('./results.test.ts'),
  () => import('./later.test.ts'),
  () => import('./pull-workers.test.ts'),
  () => import('./operation-events.test.ts'),
  () => import('./told.test.ts'),
  () => import('./time.test.ts'),
  () => import('./services-by-api.test.ts'),
  () => import('./polled-backends.test.ts'),
  () => import('./signed-requests.test.ts'),
  () => import('./callbacks.test.ts'),
  () => import('./callback-attempts.test.ts'),
  () => import('./callback-rotation.test.ts'),
  () => import('./ordering.test.ts'),
  () => import('./transitions.test.ts'),
  () => import('./stream.test.ts'),
  () => import('./websocket.test.ts'),
  () => import('./sdk-push.test.ts'),
  () => import('./sdk-events.test.ts'),
  () => import('./subscriptions.test.ts'),
  () => import('./push-subscriptions.test.ts'),
]);
