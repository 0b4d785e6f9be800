// The journeys of backends, workers, times and stops once more on PostgreSQL: the tests are the very same, since nobody but the engine may know
// which store it is.
import { onPostgres } from '../support/on-postgres.ts';

await onPostgres({ nodes: 1 }, [
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
