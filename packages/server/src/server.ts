// The only place that knows engine, core, targets and edges together. Start-up and shutdown are one list each.
import { readFileSync } from 'node:fs';
import { addressMatcher, ownMatcher } from './config/addresses.ts';
import { bearerKey, createKeyLookup } from './config/api-keys.ts';
import { readApiService, shownService } from './config/api-service.ts';
import { readApiSubscription, shownSubscription } from './config/api-subscription.ts';
import { checkRetention, readApiTopic, retentionFrom, shownRetention } from './config/api-topic.ts';
import { type Config, isPostgresAddress } from './config/config.ts';
import { Admission } from './core/admission.ts';
import { Backups } from './core/backups.ts';
import { BodyBudget } from './core/body-budget.ts';
import { CallbackSecrets } from './core/callback-secrets.ts';
import { CallbackPlaces } from './core/callback-url.ts';
import { Deliver } from './core/deliver.ts';
import { Deliveries } from './core/deliveries.ts';
import { Dispatch } from './core/dispatch.ts';
import { Envelopes } from './core/envelopes.ts';
import { EventRetention } from './core/event-retention.ts';
import { Fetch } from './core/fetch.ts';
import { serviceCarrier, webhookCarrier } from './core/event-carriers.ts';
import { EventOrigins, refuseOwnTransitions } from './core/event-origins.ts';
import { EventTaking } from './core/event-taking.ts';
import { EventTokens } from './core/event-tokens.ts';
import { EventWakes } from './core/event-wakes.ts';
import { FireAndForget } from './core/fire-and-forget.ts';
import { Ids } from './core/ids.ts';
import { Live } from './core/live.ts';
import { LookUp } from './core/look-up.ts';
import { PublishedServices } from './core/published-services.ts';
import { MadeServices } from './core/made-services.ts';
import { OperationFeeds } from './core/operation-feed.ts';
import { Outlooks } from './core/outlook.ts';
import { Pace } from './core/pace.ts';
import { operationTotals, QueueCounts } from './core/queue-counts.ts';
import { QueueRoom } from './core/queue-room.ts';
import { keyInFile, keyInMemory, noPlaceForKey, type SecretKey } from './core/secret-key.ts';
import { Polls } from './core/polls.ts';
import { Pull } from './core/pull.ts';
import { Publish } from './core/publish.ts';
import { Reply } from './core/reply.ts';
import { Services } from './core/services.ts';
import { createSubmit } from './core/submit.ts';
import { Subscribers } from './core/subscribers.ts';
import { subscriptionTotals, SubscriptionView } from './core/subscription-view.ts';
import { Subscriptions, unknownTarget } from './core/subscriptions.ts';
import { Sweep } from './core/sweep.ts';
import { TopicFeeds } from './core/topic-feed.ts';
import { TopicSettings } from './core/topic-settings.ts';
import { createWork } from './core/work.ts';
import { Auth } from './edges/auth.ts';
import { backupHandlers } from './edges/http/backup.ts';
import { batchHandler } from './edges/http/batch.ts';
import { callHandler } from './edges/http/call.ts';
import { callbackSecretHandlers } from './edges/http/callback-secrets.ts';
import { deliveryHandlers } from './edges/http/deliveries.ts';
import { eventLeaseHandlers } from './edges/http/event-leases.ts';
import { leaseHandlers } from './edges/http/leases.ts';
import { HttpListener } from './edges/http/listener.ts';
import { itemReader } from './edges/http/item-request.ts';
import { operateHandlers } from './edges/http/operate.ts';
import { operationEventHandlers } from './edges/http/operation-events.ts';
import { operationHandlers } from './edges/http/operations.ts';
import { resultsByKeyHandlers } from './edges/http/results-by-key.ts';
import { ReadTokens } from './edges/http/read-tokens.ts';
import { createRouter } from './edges/http/router.ts';
import { serviceHandlers } from './edges/http/services.ts';
import { streamHandler } from './edges/http/stream.ts';
import { subscriptionHandlers } from './edges/http/subscriptions.ts';
import { tokenHandler } from './edges/http/tokens.ts';
import { topicSettingsHandlers } from './edges/http/topic-settings.ts';
import { topicStream } from './edges/http/topic-stream.ts';
import { topicHandlers } from './edges/http/topics.ts';
import { WebSockets } from './edges/ws/websockets.ts';
import type { Engine } from './engine/engine.ts';
import { observed } from './engine/observed.ts';
import { sqliteEngine } from './engines/sqlite/engine.ts';
import { type Clock, systemClock } from './lib/clock.ts';
import { createLog, type Log } from './lib/log.ts';
import { newMetrics } from './lib/metrics.ts';
import { type Random, systemRandom } from './lib/random.ts';
import { type Service, startAll, stopAll } from './lib/service.ts';
import { addressGuard, type GuardOptions } from './targets/address.ts';
import { httpTarget } from './targets/http.ts';
import { webhookTarget } from './targets/webhook.ts';

export const version: string = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

/** What a test may put in the place of the real thing. */
export interface Extras {
  engine?: Engine;
  clock?: (startMs: number) => Clock;
  random?: Random;
  log?: Log;
  /** false: nobody is woken by a hint; everything must still work by the slow polls. */
  hints?: boolean;
  /** How often waiters re-read without a hint. */
  pollMs?: number;
  /** What looks up the hosts that callers name. */
  resolve?: GuardOptions['resolve'];
}

export interface RunningServer {
  readonly url: string;
  readonly config: Config;
  /** What an operator should know of the store, in sentences. */
  readonly storeWarnings: readonly string[];
  /** What else an operator should know of what was found in it. */
  readonly warnings: readonly string[];
  /** Finishes what is in hand, gives back what is leased to this process, closes the store. Safe to call twice. */
  stop(): Promise<void>;
  /** Resolves with the reason when the server can no longer keep its promises and has stopped by itself. */
  readonly failed: Promise<Error>;
}

const anyAddresses = new Set(['0.0.0.0', '::']);

/** Starts everything; rejects, with all that was started stopped again, when something cannot start. */
export async function startServer(config: Config, extras: Extras = {}): Promise<RunningServer> {
  const log = extras.log ?? createLog(config.logLevel);
  const random = extras.random ?? systemRandom();
  const metrics = newMetrics();
  const engine = observed(extras.engine ?? (await engineFor(config)), metrics.engine);
  const opened = await engine.open(Date.now());
  try {
    return await startOn(opened);
  } catch (error) {
    await engine.close();
    throw error;
  }

  async function startOn({
    storeKey,
    nowMs,
    lastTimeMs,
    requeued,
    warnings = [],
  }: Awaited<ReturnType<Engine['open']>>): Promise<RunningServer> {
    const clock = (extras.clock ?? systemClock)(nowMs);
    engine.onSignal((signal) => {
      if (signal.kind === 'time') clock.notBefore(signal.nowMs);
    });
    for (const warning of warnings) log.warn('store.warning', { detail: warning });
    if (requeued > 0)
      log.warn('operations.requeued', { count: requeued, detail: 'their attempts ended with the last process' });

    const ids = new Ids({ shard: engine.features.shard, storeKey });
    const services = new Services({ services: config.services, engine });
    const live = new Live({
      engine,
      maxWaiters: config.maxWaiters,
      maxPerNamespace: config.maxWaitersPerNamespace,
      hints: extras.hints ?? true,
      ...(extras.pollMs === undefined ? {} : { everyMs: extras.pollMs }),
    });
    const pace = new Pace();
    const counts = new QueueCounts(engine, () => clock.now());
    const outlooks = new Outlooks({
      engine,
      pace,
      counts,
      service: (name) => services.get(name),
      clock,
    });
    services.onChange(({ name, now }) => {
      if (!now) pace.forget(name);
    });
    const admission = new Admission({ room: new QueueRoom(engine), outlooks, clock });
    const budget = new BodyBudget(config.maxBodyMemoryBytes);
    const fireAndForget = new FireAndForget();
    const reply = new Reply({ engine, services, ids, live, pace, counts, clock, random, log, metrics });
    const guard = addressGuard({
      isAllowed: addressMatcher(config.allowNetwork),
      isOwn: ownMatcher({ listening: () => listener.url, known: [config.publicUrl, config.backendUrl] }),
      resolve: extras.resolve,
    });
    const target = httpTarget({ isGuarded: (service) => services.wasMade(service), guard, log });
    const publishedServices = new PublishedServices({ engine, services, log });
    const made = new MadeServices({
      engine,
      services,
      read: (name, document) => readApiService({ name, document, limits: config }),
      checkTarget: async ({ target: to }) => (to.kind === 'http' ? guard.check(to.url) : undefined),
      clock,
      everyMs: extras.pollMs,
      log,
    });
    const secret = secretKey(config);
    const subscriptions = new Subscriptions({
      engine,
      read: readApiSubscription,
      checkTarget: async ({ target: to, topics: read }) => {
        if (to.kind === 'webhook') await guard.check(to.url, 'subscription');
        if (to.kind !== 'service') return;
        // It may have been made at another node a moment ago.
        if (!services.get(to.service)) await made.read();
        if (!services.get(to.service)) throw unknownTarget(to.service);
        refuseOwnTransitions(to.service, read);
      },
      key: secret,
      clock,
      everyMs: extras.pollMs,
      log,
    });
    const backups = new Backups({ engine, folder: config.backupFolder, instead: insteadOfBackup(config), log });
    const secrets = new CallbackSecrets({ engine, key: secret, clock, everyMs: extras.pollMs, log });
    const dispatch = new Dispatch({
      engine,
      services,
      target,
      reply,
      ids,
      live,
      clock,
      budget,
      counts,
      fireAndForget,
      random,
      backendBase: () => backendBase(),
      everyMs: extras.pollMs,
      log,
      metrics,
    });
    const receivers = webhookTarget({ guard, log });
    const deliver = new Deliver({
      engine,
      envelopes: new Envelopes({ engine, ids, secrets, budget }),
      ids,
      target: receivers,
      clock,
      random,
      everyMs: extras.pollMs,
      log,
      metrics,
    });
    const polls = new Polls({ engine, services, target, reply, ids, live, clock, log, metrics });
    const sweep = new Sweep({ engine, services, live, dispatch, polls, clock, log, metrics, lastTimeMs });
    const submit = createSubmit({
      engine,
      callbackPlaces: new CallbackPlaces({
        guard: { check: (url) => guard.check(url, 'callback'), fits: (url) => guard.fits(url) },
      }),
      services,
      ids,
      live,
      clock,
      random,
      fireAndForget,
      admission,
      counts,
      log,
      metrics,
    });
    const taking = new EventTaking({ engine, clock });
    const wakes = new EventWakes({ engine, everyMs: extras.pollMs });
    const subscribers = new Subscribers({
      engine,
      subscriptions,
      taking,
      wakes,
      carry: {
        webhook: webhookCarrier({ target: receivers, secrets, log }),
        service: serviceCarrier({
          submit: submit.submit,
          // It may have been made a moment ago, on another node.
          find: async (name) => services.get(name) ?? made.read().then(() => services.get(name)),
          origins: new EventOrigins({ engine, ids }),
          log,
        }),
      },
      budget,
      clock,
      random,
      everyMs: extras.pollMs,
      log,
      metrics,
    });
    const pull = new Pull({ engine, subscriptions, taking, wakes, live, clock, random, log, metrics });
    const publish = new Publish({ engine, clock, log, metrics });
    const topicSettings = new TopicSettings({
      engine,
      read: (document) => {
        const retention = retentionFrom(readApiTopic(document), {
          maxAgeMs: config.eventRetentionMs,
          maxBytes: config.eventMaxBytes,
        });
        checkRetention(retention);
        return retention;
      },
      onPut: () => eventRetention.soon(),
      clock,
      log,
    });
    const onRemoved = (): void => taking.forgetPages();
    const eventRetention = new EventRetention({ engine, settings: topicSettings, clock, log, metrics, onRemoved });
    const work = createWork({ engine, ids, live, clock, fireAndForget, counts, log, metrics });
    const fetch = new Fetch({ engine, ids, live, outlooks, clock, dispatch, log });

    const findKey = config.keys && createKeyLookup(config.keys);
    const auth = new Auth({
      findOwner: findKey && ((authorization) => findKey(bearerKey(authorization) ?? '')),
      publicHost: config.publicUrl === undefined ? undefined : new URL(config.publicUrl).hostname,
      corsOrigins: config.corsOrigins,
    });
    const anyAddress = anyAddresses.has(config.host);
    const listener = new HttpListener({
      host: config.host,
      port: config.port,
      auth,
      readTokens: new ReadTokens({ ids, clock }),
      budget,
      maxWaitMs: config.maxWaitMs,
      shutdownTimeoutMs: config.shutdownTimeoutMs,
      requestIdPrefix: `${random.nonce().slice(0, 12)}-`,
      log,
      metrics,
      base: {
        publicUrl: config.publicUrl,
        anyAddress,
        isTrustedProxy: config.trustProxy.length > 0 ? addressMatcher(config.trustProxy) : undefined,
      },
    });
    const backendBase = (): string =>
      config.backendUrl ??
      config.publicUrl ??
      (anyAddress ? `http://127.0.0.1:${new URL(listener.url).port}` : listener.url);

    let state: 'starting' | 'ready' | 'stopping' = 'starting';
    const feeds = new OperationFeeds({ engine, live, ids });
    const operations = operationHandlers({ fetch, services, ids, maxWaitMs: config.maxWaitMs });
    const lookUp = new LookUp({ engine, services, ids, fetch, submit, budget, clock });
    const resultsByKey = resultsByKeyHandlers({ services, lookUp, fetch, ids, outlooks, operations });
    const leases = leaseHandlers({ services, work, reply, maxWaitMs: config.maxWaitMs });
    const subscription = subscriptionHandlers({
      subscriptions,
      view: new SubscriptionView({ engine, subscriptions, shown: shownSubscription, clock }),
      ids,
    });
    const eventTokens = new EventTokens({ ids, subscriptions });
    const eventLeases = eventLeaseHandlers({ pull, tokens: eventTokens, maxWaitMs: config.maxWaitMs });
    const oneService = serviceHandlers({ services, made, shown: shownService });
    const delivery = deliveryHandlers({ deliveries: new Deliveries({ engine, fetch, ids, clock, log }), ids });
    const callbackSecrets = callbackSecretHandlers({ secrets, clock });
    const backup = backupHandlers({ backups, live, maxWaitMs: config.maxWaitMs });
    const operate = operateHandlers({
      engine,
      services,
      fetch,
      ids,
      clock,
      pace,
      version,
      keyRequired: auth.keysExist,
      isReady: () => state,
      metricsText: metricsReader(),
    });
    const topicsKept = topicSettingsHandlers({ engine, settings: topicSettings, shown: shownRetention });
    const topicFeeds = new TopicFeeds({ engine, live, everyMs: extras.pollMs });
    const topics = topicHandlers({
      publish,
      engine,
      clock,
      random,
      stream: topicStream({ feeds: topicFeeds, live }),
    });
    const operationEvents = operationEventHandlers({ fetch, feeds, live, operations });
    const { streamOf } = operationEvents;
    const call = callHandler({ services, submit, fetch, outlooks, streamOf, maxWaitMs: config.maxWaitMs });
    const webSockets = new WebSockets({
      topicFeeds,
      publish,
      auth,
      services,
      submit,
      work,
      reply,
      subscriptions,
      pull,
      eventTokens,
      fetch,
      feeds,
      live,
      ids,
      outlooks,
      budget,
      readItem: itemReader({ services, where: 'frame' }),
      snapshot: operations.snapshot,
      log,
    });
    listener.onUpgrade((upgrade) => void webSockets.accept(upgrade));
    listener.route(
      createRouter({
        call,
        callPath: call,
        batch: batchHandler({ services, submit, outlooks }),
        listOperations: operations.list,
        getOperation: operations.status,
        getResult: operations.result,
        getTimeline: operations.timeline,
        getEvents: operationEvents.events,
        stream: streamHandler({ fetch, feeds, topicFeeds, ids, live, operations }),
        listOperationDeliveries: delivery.ofOperation,
        listDeliveries: delivery.list,
        getDelivery: delivery.one,
        retryDelivery: delivery.retry,
        cancelOperation: operations.cancel,
        createToken: tokenHandler({ fetch, ids, clock }),
        listServices: operate.listServices,
        getService: oneService.get,
        putService: oneService.put,
        removeService: oneService.remove,
        listTopics: topicsKept.list,
        getTopic: topicsKept.get,
        putTopic: topicsKept.put,
        publishEvents: topics.post,
        listEvents: topics.events,
        listCallbackSecrets: callbackSecrets.list,
        rotateCallbackSecret: callbackSecrets.rotate,
        backup: backup.make,
        getBackup: backup.look,
        findResult: resultsByKey.get,
        purgeResult: resultsByKey.purge,
        getResultByKey: resultsByKey.get,
        purgeResultByKey: resultsByKey.purge,
        refreshResult: resultsByKey.refresh,
        lease: leases.lease,
        replyLease: eventLeases.either(leases.reply),
        failLease: eventLeases.either(leases.fail),
        extendLease: eventLeases.either(leases.extend, eventLeases.extend),
        progressLease: eventLeases.either(leases.progress),
        releaseLease: eventLeases.either(leases.release, eventLeases.release),
        listSubscriptions: subscription.list,
        getSubscription: subscription.get,
        putSubscription: subscription.put,
        removeSubscription: subscription.remove,
        pauseSubscription: subscription.pause,
        resumeSubscription: subscription.resume,
        listSubscriptionDeliveries: subscription.deliveries,
        listDeadLetters: subscription.deadLetters,
        redriveDeadLetters: subscription.redrive,
        removeDeadLetters: subscription.forget,
        leaseEvents: eventLeases.lease,
        ackLease: eventLeases.ack,
        nackLease: eventLeases.nack,
        livez: operate.livez,
        readyz: operate.readyz,
        metrics: operate.metrics,
        openapi: operate.openapi,
        asyncapi: operate.asyncapi,
        home: operate.home,
        style: operate.style,
        problem: operate.problem,
      }),
    );

    /** In the order they start; they stop in the opposite one, after those who wait have been let go. */
    const parts: Service[] = [
      live,
      made,
      publishedServices,
      secrets,
      subscriptions,
      wakes,
      sweep,
      eventRetention,
      publish,
      listener,
      webSockets,
      dispatch,
      deliver,
      subscribers,
      polls,
      backups,
    ];
    try {
      await startAll(parts);
    } catch (error) {
      await Promise.all([target.close(), receivers.close()]);
      throw error;
    }
    state = 'ready';

    let stopped: Promise<void> | undefined;
    const stop = (): Promise<void> => (stopped ??= stopServer());
    async function stopServer(): Promise<void> {
      state = 'stopping';
      listener.refuseNew();
      webSockets.refuseNew();
      await live.stop();
      await stopAll(parts);
      await Promise.all([target.close(), receivers.close()]);
      await engine.close();
    }

    const failed = new Promise<Error>((resolve) => {
      engine.onSignal((signal) => {
        if (signal.kind !== 'failed' || state === 'stopping') return;
        log.error('store.failed', {
          error: signal.error,
          detail: 'nothing is acknowledged any more; start again once the disk is sound',
        });
        void stop().then(
          () => resolve(signal.error),
          () => resolve(signal.error),
        );
      });
    });

    return {
      url: listener.url,
      config,
      storeWarnings: warnings,
      warnings: [...made.warnings, ...secrets.warnings, ...subscriptions.warnings],
      stop,
      failed,
    };

    function metricsReader(): () => Promise<{ type: string; text: string }> {
      let registry: ReturnType<typeof import('./lib/metrics-text.ts').metricsRegistry> | undefined;
      return async () => {
        registry ??= (await import('./lib/metrics-text.ts')).metricsRegistry(metrics, async () => ({
          waiters: live.waiting,
          attemptsInFlight: dispatch.inFlight,
          deliveriesInFlight: deliver.inFlight,
          pushesInFlight: subscribers.inFlight,
          bodyBytes: budget.used,
          // A store that is away takes its own figures with it, and not those that tell of it.
          operations: operationTotals(await engine.counts().catch(() => [])),
          ...subscriptionTotals(await engine.subscriptions().catch(() => []), clock.now()),
        }));
        return { type: registry.type, text: await registry.text() };
      };
    }
  }
}

/** The second engine is loaded for those who use it alone: its driver is nothing to a server with a folder. */
async function engineFor({ data, acceptWeakDurability }: Config): Promise<Engine> {
  if (!isPostgresAddress(data)) return sqliteEngine({ folder: data });
  const { postgresEngine } = await import('./engines/postgres/engine.ts');
  return postgresEngine({ url: data, acceptWeakDurability });
}

/** Where the key is that seals what the store must not show. */
function secretKey({ data, secretKeyFile }: Config): SecretKey {
  if (data === ':memory:') return keyInMemory();
  if (secretKeyFile === undefined) return noPlaceForKey();
  return keyInFile({ path: secretKeyFile, outside: isPostgresAddress(data) ? undefined : data });
}

/** What keeps the data of a store that cannot copy itself. */
const insteadOfBackup = ({ data }: Config): string =>
  isPostgresAddress(data)
    ? 'a PostgreSQL store is backed up by its own tools: pg_dump --format=custom --schema=waitless --file=waitless.dump "$DATABASE", or pg_basebackup --pgdata=DIR for the whole server'
    : 'a store in memory keeps nothing over a stop, so there is nothing to back up; start the server with --data FOLDER';
