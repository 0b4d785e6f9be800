// Carries one notice to a receiver that somebody named over the API: a POST to a vetted address, within one time limit, and little of the answer.
import type { Agent } from 'undici';
import type { NoticeTarget, OutboundNotice } from '../core/deliver.ts';
import type { Tried } from '../core/delivery-rules.ts';
import { mostAnswerBytes } from '../engine/deliveries.ts';
import type { Log } from '../lib/log.ts';
import { type AddressGuard, forbiddenTarget } from './address.ts';
import { unlessAborted } from './giving-up.ts';
import { guardedConnector } from './guarded-connector.ts';

/** For all of it: looking up the name, connecting, sending, and what is read of the answer. A longer one lets a slow receiver hold a place; a shorter one loses those that work before they answer. */
const usualLimitMs = 15_000;
/** Read of an answer so that its connection can be used again; one that goes on is cut off. */
const mostReadBytes = 65_536;
/** A longer header is refused by the client library, which holds it whole. */
const mostHeaderBytes = 16_384;
/** Idle connections are kept this long, whatever the receiver asks for: there may be as many receivers as callers like. */
const keepAliveMs = 4000;

export interface WebhookTargetOptions {
  guard: AddressGuard;
  limitMs?: number;
  /** Hears why a receiver could not be reached, which those who named it do not: it tells which ports are open where. */
  log?: Pick<Log, 'info'>;
}

type Failure = Extract<Tried, { kind: 'failed' }>;
const failure = (code: Failure['code']): Failure => ({ kind: 'failed', code });

export function webhookTarget({
  guard,
  limitMs = usualLimitMs,
  log,
}: WebhookTargetOptions): NoticeTarget & { close(): Promise<void> } {
  // Loaded with the first notice, as the library takes long to load. It asks for no compressed answer, takes none apart, and knows of no proxy.
  let loading: Promise<Agent> | undefined;
  const load = async (): Promise<Agent> => {
    const undici = await import('undici');
    return new undici.Agent({
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: guardedConnector(undici, { guard, timeoutMs: limitMs }),
      allowH2: false,
      keepAliveTimeout: keepAliveMs,
      keepAliveMaxTimeout: keepAliveMs,
      maxHeaderSize: mostHeaderBytes,
      pipelining: 1,
    });
  };

  async function post({ url: text, headers, body, signal }: OutboundNotice): Promise<Tried> {
    if (!guard.fits(text)) return failure('blocked');
    const url = new URL(text);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(limitMs)]);
    try {
      const agent = await (loading ??= load());
      const request = {
        origin: url.origin,
        path: url.pathname + url.search,
        method: 'POST' as const,
        headers: [...headers.flat(), 'Content-Length', String(body.length), 'Host', url.host],
        body,
        signal: limit,
      };
      const answer = await unlessAborted(() => agent.request(request), limit);
      return {
        kind: 'answered',
        status: answer.statusCode,
        retryAfter: [answer.headers['retry-after']].flat()[0],
        answer: await beginningOf(answer.body),
      };
    } catch (error) {
      const { code, message, errors } = error as { code?: string; message: string; errors?: { message: string }[] };
      if (code === forbiddenTarget) return failure('blocked');
      if (limit.aborted) return failure('timed-out');
      log?.info?.('callback.unreachable', {
        host: url.host,
        detail: errors?.map((one) => one.message).join('; ') || message,
      });
      return failure('connection-failed');
    }
  }

  return {
    post,
    /** Nothing is on its way any more. */
    async close() {
      const agent = await loading;
      agent?.destroy().catch(() => {});
    },
  };
}

/** What the status says is certain already, so that a body that breaks off, or drips to the end of the time, takes nothing away from it. */
async function beginningOf(body: AsyncIterable<Buffer>): Promise<Uint8Array> {
  const kept: Buffer[] = [];
  let read = 0;
  try {
    for await (const chunk of body) {
      if (read < mostAnswerBytes) kept.push(chunk.subarray(0, mostAnswerBytes - read));
      read += chunk.length;
      // Leaving the loop destroys the stream, and its connection with it.
      if (read >= mostReadBytes) break;
    }
  } catch {
    // Then the answer was no longer than this.
  }
  // Memory of its own, so that the little that is kept keeps nothing larger alive.
  const beginning = Buffer.allocUnsafeSlow(Math.min(read, mostAnswerBytes));
  let at = 0;
  for (const chunk of kept) at += chunk.copy(beginning, at);
  return beginning;
}
