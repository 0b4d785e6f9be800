// What operators and people look at: health, metrics, the OpenAPI and AsyncAPI documents, the page at /, explanations of errors.
import type { Operation, ServiceSummary } from '@waitless/protocol';
import { WaitlessError } from '@waitless/protocol';
import { operationJson } from '../../core/document.ts';
import type { Fetch } from '../../core/fetch.ts';
import type { Ids } from '../../core/ids.ts';
import type { Pace } from '../../core/pace.ts';
import type { Services } from '../../core/services.ts';
import type { Counts, Engine } from '../../engine/engine.ts';
import type { Clock } from '../../lib/clock.ts';
import { type Answer, type Handler, jsonAnswer } from './exchange.ts';

export interface OperateDependencies {
  engine: Pick<Engine, 'health' | 'counts'>;
  services: Services;
  fetch: Fetch;
  ids: Ids;
  clock: Clock;
  pace: Pick<Pace, 'recent'>;
  version: string;
  keyRequired: boolean;
  isReady: () => 'ready' | 'starting' | 'stopping';
  metricsText: () => Promise<{ type: string; text: string }>;
}

const recentOperations = 20;

/** Loaded when somebody looks: machines never do, and every start would pay for it. */
const pages = {
  openapi: () => import('./openapi.ts'),
  asyncapi: () => import('./asyncapi.ts'),
  home: () => import('./pages/home-page.ts'),
  frame: () => import('./pages/page.ts'),
  problem: () => import('./pages/problem-page.ts'),
  style: () => import('./pages/stylesheet.ts'),
};

export function operateHandlers({
  engine,
  services,
  fetch,
  ids,
  clock,
  pace,
  version,
  keyRequired,
  isReady,
  metricsText,
}: OperateDependencies) {
  async function summaries(namespace: string): Promise<ServiceSummary[]> {
    const byService = new Map<string, Counts>();
    for (const { queue, counts } of await engine.counts())
      if (queue.namespace === namespace) byService.set(queue.service, counts);
    return [...services.all()].map((service) => ({
      name: service.name,
      target: service.target.kind,
      mode: service.mode,
      source: services.sourceOf(service.name) ?? 'config',
      counts: byService.get(service.name) ?? { queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 },
      recent: pace.recent({
        service: service.name,
        queue: services.knownNumber(namespace, service.name),
        nowMs: clock.now(),
      }),
    }));
  }

  const livez: Handler = () => jsonAnswer(200, '{"status":"alive"}');

  const readyz: Handler = async () => {
    const state = isReady();
    if (state === 'stopping' || state === 'starting')
      throw new WaitlessError('shutting-down', state === 'starting' ? 'the server is starting' : undefined, {
        retryAfterSeconds: 1,
      });
    await engine.health();
    return jsonAnswer(200, '{"status":"ready"}');
  };

  const metrics: Handler = async () => {
    const { type, text } = await metricsText();
    return { status: 200, headers: ['Content-Type', type, 'Cache-Control', 'no-store'], body: text };
  };

  const openapi: Handler = async (exchange) => {
    const { openApiDocument } = await pages.openapi();
    return jsonAnswer(200, JSON.stringify(openApiDocument({ version, serverUrl: exchange.base })));
  };

  const asyncapi: Handler = async (exchange) => {
    const { asyncApiDocument } = await pages.asyncapi();
    return jsonAnswer(200, JSON.stringify(asyncApiDocument({ version, serverUrl: exchange.base })));
  };

  const listServices: Handler = async (exchange) =>
    jsonAnswer(200, JSON.stringify({ items: await summaries(exchange.namespace), next: null }));

  const home: Handler = async (exchange) => {
    const operations: Operation[] = [];
    const shown = keyRequired ? [] : await summaries('default');
    if (!keyRequired) {
      const page = await fetch.list({ namespace: 'default', limit: recentOperations });
      for (const record of page.items)
        operations.push(
          JSON.parse(
            operationJson(record, {
              id: ids.operationId(record),
              base: exchange.base,
              service: services.get(record.service),
            }),
          ) as Operation,
        );
    }
    const { homePage } = await pages.home();
    return html(
      200,
      homePage({ url: exchange.base, version, services: shown, operations, nowMs: clock.now(), keyRequired }),
    );
  };

  const problem: Handler = async (exchange) => {
    const { problemPage } = await pages.problem();
    const page = problemPage(exchange.params['code']!);
    if (page === undefined) throw new WaitlessError('not-found', 'there is no error with this code');
    return html(200, page);
  };

  const style: Handler = async () => ({
    status: 200,
    headers: [
      'Content-Type',
      'text/css; charset=utf-8',
      'Cache-Control',
      'max-age=300',
      'X-Content-Type-Options',
      'nosniff',
    ],
    body: (await pages.style()).stylesheet,
  });

  return { livez, readyz, metrics, openapi, asyncapi, listServices, home, problem, style };
}

async function html(status: number, body: string): Promise<Answer> {
  const { pageHeaders } = await pages.frame();
  return { status, headers: Object.entries(pageHeaders).flat(), body };
}
