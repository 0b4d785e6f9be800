// Turns the counters into Prometheus text; loaded when /metrics is first read. Label values are few and fixed: never ids, keys or client text.
import { collectDefaultMetrics, Counter, Gauge, Registry } from '@prometheus-io/client';
import type { Metrics } from './metrics.ts';

export interface Gauges {
  waiters: number;
  attemptsInFlight: number;
  deliveriesInFlight: number;
  pushesInFlight: number;
  bodyBytes: number;
  operations: { service: string; status: string; count: number }[];
  subscriptions: { state: string; count: number }[];
  subscriptionEvents: { state: string; count: number }[];
}

export function metricsRegistry(
  metrics: Metrics,
  gauges: () => Promise<Gauges>,
): { text(): Promise<string>; type: string } {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const counter = (
    name: string,
    help: string,
    labelNames: string[],
    values: () => [Record<string, string>, number][],
  ): void => {
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const [labels, value] of values()) this.inc(labels, value);
      },
    });
  };
  counter('waitless_operations_accepted_total', 'Requests accepted, by durability.', ['durability'], () =>
    Object.entries(metrics.accepted).map(([durability, n]) => [{ durability }, n]),
  );
  counter('waitless_events_published_total', 'Events published, by durability; repeats aside.', ['durability'], () =>
    Object.entries(metrics.published).map(([durability, n]) => [{ durability }, n]),
  );
  counter('waitless_events_removed_total', 'Events removed by the retention of their topic.', [], () => [
    [{}, metrics.eventsRemoved],
  ]);
  counter(
    'waitless_events_missed_total',
    'Events removed at the hard limit of their topic, before every durable subscription had read them.',
    [],
    () => [[{}, metrics.eventsMissed]],
  );
  counter('waitless_submits_replayed_total', 'Submits answered from their idempotency key.', [], () => [
    [{}, metrics.replayed],
  ]);
  counter('waitless_submits_joined_total', 'Submits that joined an operation under way for the same key.', [], () => [
    [{}, metrics.joined],
  ]);
  counter('waitless_submits_from_store_total', 'Submits answered with a stored result.', [], () => [
    [{}, metrics.storedHits],
  ]);
  counter('waitless_leases_total', 'Leases given to workers and attempts begun.', [], () => [[{}, metrics.leased]]);
  counter('waitless_attempts_total', 'Requests sent to backends.', [], () => [[{}, metrics.attempts]]);
  counter('waitless_polls_total', 'Times a backend that answers later was asked.', [], () => [[{}, metrics.polls]]);
  counter('waitless_delivery_attempts_total', 'Callbacks sent.', [], () => [[{}, metrics.deliveryAttempts]]);
  counter('waitless_deliveries_total', 'Tries of callbacks, by what came of them.', ['outcome'], () =>
    Object.entries(metrics.deliveries).map(([outcome, n]) => [{ outcome }, n]),
  );
  counter(
    'waitless_event_pushes_total',
    'Events carried to subscribers, by kind of target and what came of it.',
    ['target', 'outcome'],
    () =>
      Object.entries(metrics.pushes).flatMap(([target, outcomes]) =>
        Object.entries(outcomes).map(([outcome, n]): [Record<string, string>, number] => [{ target, outcome }, n]),
      ),
  );
  counter('waitless_event_leases_total', 'Events given to those who pull.', [], () => [[{}, metrics.eventLeases]]);
  counter('waitless_event_outcomes_total', 'Events that were pulled, by what came of them.', ['outcome'], () =>
    Object.entries(metrics.eventOutcomes).map(([outcome, n]) => [{ outcome }, n]),
  );
  counter(
    'waitless_subscription_resets_total',
    'Times that a subscription wanted what its topics had lost to their retention.',
    [],
    () => [[{}, metrics.subscriptionResets]],
  );
  counter('waitless_settlements_total', 'Answers recorded or refused, by what they led to.', ['outcome'], () =>
    Object.entries(metrics.settled).map(([outcome, n]) => [{ outcome }, n]),
  );
  counter('waitless_http_responses_total', 'HTTP answers, by status.', ['status'], () =>
    [...metrics.httpResponses].map(([status, n]) => [{ status: String(status) }, n]),
  );
  counter('waitless_clock_decisions_total', 'Operations whose lease, timeout or start-by time ran out.', [], () => [
    [{}, metrics.expired],
  ]);
  counter('waitless_operations_removed_total', 'Ended operations removed after their retention.', [], () => [
    [{}, metrics.swept],
  ]);
  const perCall =
    (pick: (times: { calls: number; failures: number; seconds: number }) => number) =>
    (): [Record<string, string>, number][] =>
      [...metrics.engine].map(([call, times]) => [{ call }, pick(times)]);
  counter(
    'waitless_engine_calls_total',
    'Calls of the store, by kind.',
    ['call'],
    perCall((times) => times.calls),
  );
  counter(
    'waitless_engine_failures_total',
    'Calls of the store that failed, by kind.',
    ['call'],
    perCall((times) => times.failures),
  );
  counter(
    'waitless_engine_wait_seconds_total',
    'Time callers waited for the store, by kind.',
    ['call'],
    perCall((times) => times.seconds),
  );
  let now: Gauges | undefined;
  const gauge = (
    name: string,
    help: string,
    labelNames: string[],
    values: (g: Gauges) => [Record<string, string>, number][],
  ): void => {
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const [labels, value] of values(now!)) this.set(labels, value);
      },
    });
  };
  gauge('waitless_waiters', 'Requests held until something happens.', [], (g) => [[{}, g.waiters]]);
  gauge('waitless_attempts_in_flight', 'Attempts at backends right now.', [], (g) => [[{}, g.attemptsInFlight]]);
  gauge('waitless_deliveries_in_flight', 'Callbacks on their way right now.', [], (g) => [[{}, g.deliveriesInFlight]]);
  gauge('waitless_event_pushes_in_flight', 'Events on their way to subscribers right now.', [], (g) => [
    [{}, g.pushesInFlight],
  ]);
  gauge('waitless_body_bytes', 'Bytes of bodies held in memory.', [], (g) => [[{}, g.bodyBytes]]);
  gauge('waitless_operations', 'Operations kept, by service and status.', ['service', 'status'], (g) =>
    g.operations.map(({ service, status, count }) => [{ service, status }, count]),
  );
  gauge('waitless_subscriptions', 'Subscriptions, by state.', ['state'], (g) =>
    g.subscriptions.map(({ state, count }) => [{ state }, count]),
  );
  gauge('waitless_subscription_events', 'Events taken by subscriptions and not done with, by state.', ['state'], (g) =>
    g.subscriptionEvents.map(({ state, count }) => [{ state }, count]),
  );
  return {
    type: registry.contentType,
    async text() {
      now = await gauges();
      return registry.metrics();
    },
  };
}
