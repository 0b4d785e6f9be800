// Who wants to know what. The counter, which tells everybody, knows none of them; a fourth one is a fourth document.

/** @param {{ notifierUrl: string, secret: string }} where */
export const subscriptions = ({ notifierUrl, secret }) => ({
  // Fetches its events when it has time, and finds everything that happened while it was away.
  history: { topic: 'pizza.ordered', target: { pull: true } },
  // Starts an operation for each event; its cooks know nothing of events.
  kitchen: { topic: 'pizza.ordered', target: { service: 'kitchen' } },
  // Is called with each event, signed with a secret of its own.
  notifier: { topic: 'pizza.*', target: { url: notifierUrl, secret } },
});

/** Comes later, while everything runs: an operation that ends is an event too, and nobody has to publish it. */
export const owner = { topic: 'operations.kitchen.succeeded', target: { pull: true } };
