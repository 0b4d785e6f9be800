// Why a store cannot be used at all: said once at start, so that a person knows what to mend before anything runs.

/** The store at this address is not fit to be used: unreachable, foreign, newer, or not durable. The message is one sentence that says which and what to do. */
export class StoreRefused extends Error {
  override readonly name = 'StoreRefused';
}
