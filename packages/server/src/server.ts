// The only place that knows engine, core, targets and edges together. Start-up and shutdown are one list each.
import { readFileSync } from 'node:fs';
import { addressMatcher } from './config/addresses.ts';
import { bearerKey, createKeyLookup } from './config/api-keys.ts';
import { type Config, isPostgresAddress } from './config/config.ts';
import { BodyBudget } from './core/body-budget.ts';
import { Dispatch } from './core/dispatch.ts';
import { Fetch } from './core/fetch.ts';
import { FireAndForget } from './core/fire-and-forget.ts';
import { Ids } from './core/ids.ts';
import { Live } from './core/live.ts';
import { Pace } from './core/pace.ts';
import { Reply } from './core/reply.ts';
import { Services } from './core/services.ts';
import { createSubmit } from './core/submit.ts';
import { Sweep } from './core/sweep.ts';
import { createWork } from './core/work.ts';
import { Auth } from './edges/auth.ts';
import { callHandler } from './edges/http/call.ts';
import { leaseHandlers } from './edges/http/leases.ts';
import { HttpListener } from './edges/http/listener.ts';
import { operateHandlers } from './edges/http/operate.ts';
import { operationHandlers } from './edges/http/operations.ts';
import { createRouter } from './edges/http/router.ts';
import type { Engine } from './engine/engine.ts';
import { observed } from './engine/observed.ts';
import { sqliteEngine } from './engines/sqlite/engine.ts';
import { type Clock, systemClock } from './lib/clock.ts';
import { createLog, type Log } from './lib/log.ts';
import { newMetrics } from './lib/metrics.ts';
import { type Random, systemRandom } from './lib/random.ts';
import type { Service } from './lib/service.ts';
import { httpTarget } from './targets/http.ts';

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
}

export interface RunningServer {
  readonly url: string;
  readonly config: Config;
  /** What an operator should know of the store, in sentences. */
  readonly storeWarnings: readonly string[];
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
      hints: extras.hints ?? true,
      ...(extras.pollMs === undefined ? {} : { everyMs: extras.pollMs }),
    });
    const pace = new Pace();
    const budget = new BodyBudget(config.maxBodyMemoryBytes);
    const fireAndForget = new FireAndForget();
    const reply = new Reply({ engine, services, ids, live, pace, clock, random, log, metrics });
    const target = httpTarget();
    const dispatch = new Dispatch({
      engine,
      services: config.services.values(),
      target,
      reply,
      ids,
      live,
      clock,
      budget,
      fireAndForget,
      backendBase: () => backendBase(),
      everyMs: extras.pollMs,
      log,
      metrics,
    });
    const sweep = new Sweep({ engine, services, live, dispatch, clock, log, metrics, lastTimeMs });
    const submit = createSubmit({ engine, services, ids, live, clock, random, fireAndForget, log, metrics });
    const work = createWork({ engine, ids, live, clock, fireAndForget, log, metrics });
    const fetch = new Fetch({ engine, ids, live, pace, clock, dispatch, log });

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
    const operations = operationHandlers({ fetch, services, ids, maxWaitMs: config.maxWaitMs });
    const leases = leaseHandlers({ services, work, reply, maxWaitMs: config.maxWaitMs });
    const operate = operateHandlers({
      engine,
      services,
      fetch,
      ids,
      clock,
      version,
      keyRequired: auth.keysExist,
      isReady: () => state,
      metricsText: metricsReader(),
    });
    const call = callHandler({ services, submit, fetch, pace, maxWaitMs: config.maxWaitMs });
    listener.route(
      createRouter({
        call,
        callPath: call,
        listOperations: operations.list,
        getOperation: operations.status,
        getResult: operations.result,
        getTimeline: operations.timeline,
        cancelOperation: operations.cancel,
        listServices: operate.listServices,
        lease: leases.lease,
        replyLease: leases.reply,
        failLease: leases.fail,
        extendLease: leases.extend,
        progressLease: leases.progress,
        releaseLease: leases.release,
        livez: operate.livez,
        readyz: operate.readyz,
        metrics: operate.metrics,
        openapi: operate.openapi,
        home: operate.home,
        style: operate.style,
        problem: operate.problem,
      }),
    );

    /** In the order they start; they stop in the opposite one, after those who wait have been let go. */
    const parts: Service[] = [live, sweep, listener, dispatch];
    const started: Service[] = [];
    try {
      for (const part of parts) {
        await part.start();
        started.push(part);
      }
    } catch (error) {
      for (const part of started.reverse()) await part.stop();
      await target.close();
      throw error;
    }
    state = 'ready';

    let stopped: Promise<void> | undefined;
    const stop = (): Promise<void> => (stopped ??= stopAll());
    async function stopAll(): Promise<void> {
      state = 'stopping';
      listener.refuseNew();
      await live.stop();
      for (const part of [...parts].reverse()) await part.stop();
      await target.close();
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

    return { url: listener.url, config, storeWarnings: warnings, stop, failed };

    function metricsReader(): () => Promise<{ type: string; text: string }> {
      let registry: ReturnType<typeof import('./lib/metrics-text.ts').metricsRegistry> | undefined;
      return async () => {
        registry ??= (await import('./lib/metrics-text.ts')).metricsRegistry(metrics, async () => ({
          waiters: live.waiting,
          attemptsInFlight: dispatch.inFlight,
          bodyBytes: budget.used,
          // A store that is away takes its own figures with it, and not those that tell of it.
          operations: totals(await engine.counts().catch(() => [])),
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

/** Summed over namespaces, so that the number of series is bounded by the operator's own services. */
function totals(counts: Awaited<ReturnType<Engine['counts']>>): { service: string; status: string; count: number }[] {
  const sums = new Map<string, { service: string; status: string; count: number }>();
  for (const { queue, counts: byStatus } of counts) {
    for (const [status, count] of Object.entries(byStatus)) {
      const sum = sums.get(`${queue.service} ${status}`);
      if (sum) sum.count += count;
      else sums.set(`${queue.service} ${status}`, { service: queue.service, status, count });
    }
  }
  return [...sums.values()];
}
