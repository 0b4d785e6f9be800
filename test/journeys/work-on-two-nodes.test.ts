// The journeys of backends, workers, times and stops once more with two nodes on one database and a balancer in front: a lease of one node is answered
// at the other, and a restart is one of both in turn.
import { onPostgres } from '../support/on-postgres.ts';

await onPostgres({ nodes: 2 }, [
  () => import('./bytes.test.ts'),
  () => import('./backend-answers.test.ts'),
  () => import('./later.test.ts'),
  () => import('./pull-workers.test.ts'),
  () => import('./operation-events.test.ts'),
  () => import('./time.test.ts'),
  () => import('./services-by-api.test.ts'),
  () => import('./stop.test.ts'),
  () => import('./polled-backends.test.ts'),
  () => import('./signed-requests.test.ts'),
]);
