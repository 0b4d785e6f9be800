// Transitions of operations as events: each change of state is an event on `operations.{service}.{status}`, written in the commit that makes the change.
//
// Only where somebody wants it: the history of a queue begins when its service asks for it, or when a subscription is saved in its namespace whose topics
// name it, and from that commit on no change is missed. It ends when neither is left. Where nobody wants it, it costs nothing.
export interface TransitionEngine {
  /** Which services want it in every namespace, by name; what is said of others stays. */
  publishTransitions(wanted: Readonly<Record<string, boolean>>): Promise<void>;
}
