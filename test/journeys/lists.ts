// Every journey that holds on any store and with any number of nodes: a new one is added here, and runs in every variant that runs them all.

type Journeys = readonly (() => Promise<unknown>)[];

/** Those of which a second node could change the outcome: they run on two in every test run. */
export const submitsOfNodes: Journeys = [
  () => import('./idempotency.test.ts'),
  () => import('./look-up.test.ts'),
  () => import('./results.test.ts'),
  () => import('./cancel.test.ts'),
  () => import('./durability.test.ts'),
  () => import('./isolation.test.ts'),
  () => import('./stored-results.test.ts'),
  () => import('./results-by-key.test.ts'),
  () => import('./pace.test.ts'),
  () => import('./publish.test.ts'),
  () => import('./topics.test.ts'),
  () => import('./topic-streams.test.ts'),
];

export const submits: Journeys = [
  ...submitsOfNodes,
  () => import('./same-id.test.ts'),
  () => import('./modes.test.ts'),
  () => import('./batch.test.ts'),
  () => import('./acknowledgement.test.ts'),
  () => import('./callback-secrets.test.ts'),
  () => import('./tokens.test.ts'),
];

/** As above, of backends and workers. */
export const workOfNodes: Journeys = [
  () => import('./later.test.ts'),
  () => import('./pull-workers.test.ts'),
  () => import('./ordering.test.ts'),
  () => import('./transitions.test.ts'),
  () => import('./told.test.ts'),
  () => import('./stop.test.ts'),
  () => import('./callbacks.test.ts'),
  () => import('./push-subscriptions.test.ts'),
  () => import('./subscriptions.test.ts'),
];

export const work: Journeys = [
  ...workOfNodes,
  () => import('./bytes.test.ts'),
  () => import('./backend-answers.test.ts'),
  () => import('./operation-events.test.ts'),
  () => import('./websocket.test.ts'),
  () => import('./websocket-consumers.test.ts'),
  () => import('./stream.test.ts'),
  () => import('./sdk-push.test.ts'),
  () => import('./sdk-events.test.ts'),
  () => import('./time.test.ts'),
  () => import('./services-by-api.test.ts'),
  () => import('./polled-backends.test.ts'),
  () => import('./signed-requests.test.ts'),
  () => import('./callback-attempts.test.ts'),
  () => import('./callback-rotation.test.ts'),
];
