// The worker's side of the wire: take leases, answer them, keep them.
import {
  type LeaseRequest,
  type LeaseResponse,
  type OperationProgress,
  routePath,
  WaitlessError,
} from '@waitless/protocol';
import { utf8 } from './body.ts';
import { type Verdict, settlementOf } from './job.ts';
import { answerGraceMs } from './response.ts';
import { readJson, setHeader, type Wire } from './wire.ts';

/** Takes work and hands in answers. */
export async function takeLeases(
  wire: Wire,
  service: string,
  wanted: LeaseRequest & { signal: AbortSignal },
): Promise<LeaseResponse> {
  const { signal, ...body } = wanted;
  const response = await wire.send({
    method: 'POST',
    path: routePath('lease', { service }),
    headers: json(),
    body: utf8(JSON.stringify(body)),
    signal,
    headersTimeoutMs: (wanted.waitSeconds ?? 0) * 1_000 + answerGraceMs,
  });
  const taken = await readJson<LeaseResponse>(wire.url, response, signal);
  if (!Array.isArray(taken?.leases) || !Array.isArray(taken.settled))
    throw new WaitlessError('unexpected-answer', `${wire.url} answered without leases: is that a Waitless server?`, {
      status: response.status,
    });
  return taken;
}

/** What one lease is told, and by whom, where it is told alone. */
export interface LoneAnswer {
  service: string;
  worker: string;
  token: string;
  verdict: Verdict;
}

/** The fields of a reply that the route for raw bytes keeps; others travel in the envelope. */
const rawField = /^(content-.*|cache-control|location)$/i;

/** Answers one lease in a call of its own: no new work comes with it, and a large body goes as raw bytes. */
export async function answerAlone(
  wire: Wire,
  { service, worker, token, verdict }: LoneAnswer,
  signal: AbortSignal,
): Promise<void> {
  const send = async (
    verb: 'replyLease' | 'failLease' | 'releaseLease',
    headers: Headers,
    body: Uint8Array<ArrayBuffer>,
  ) => {
    const path = routePath(verb, { token });
    const response = await wire.send({ method: 'POST', path, headers, body, signal, headersTimeoutMs: answerGraceMs });
    await response.body?.cancel();
  };
  if (verdict.kind === 'fail') return send('failLease', json(), utf8(JSON.stringify(verdict.fail)));
  if (verdict.kind === 'release') return send('releaseLease', json(), utf8('{}'));
  if (verdict.headers.every(([name]) => rawField.test(name))) {
    const headers = new Headers(verdict.headers.filter(([name]) => !/^content-length$/i.test(name)));
    setHeader(headers, 'Result-Status', String(verdict.status));
    return send('replyLease', headers, verdict.body);
  }
  // The envelope keeps every field, and its call hands out work: the least there is, given back at once.
  const { settled, leases } = await takeLeases(wire, service, {
    worker,
    max: 1,
    settle: [settlementOf(token, verdict)],
    signal,
  });
  await Promise.all(
    leases.map((lease) =>
      answerAlone(wire, { service, worker, token: lease.token, verdict: { kind: 'release' } }, signal),
    ),
  );
  const refused = settled[0] && refusalOf(settled[0]);
  if (refused) throw refused;
  return undefined;
}

/** The error of an answer that was not recorded, as the call for it alone would have thrown it. */
export function refusalOf({ status, code, detail }: LeaseResponse['settled'][number]): WaitlessError | undefined {
  return status === 200 ? undefined : new WaitlessError(code ?? 'internal-error', detail, { status });
}

/** Keeps a lease for so long from now. */
export async function extendLease(
  wire: Wire,
  { token, leaseSeconds }: { token: string; leaseSeconds: number },
  signal: AbortSignal,
): Promise<void> {
  await tell(wire, routePath('extendLease', { token }), { leaseSeconds }, signal);
}

export async function reportProgress(
  wire: Wire,
  { token, report }: { token: string; report: Omit<OperationProgress, 'sequence'> },
  signal: AbortSignal,
): Promise<void> {
  await tell(wire, routePath('progressLease', { token }), report, signal);
}

/** A control call must be over well before a lease could be. */
const tellTimeoutMs = 10_000;

async function tell(wire: Wire, path: string, value: unknown, signal: AbortSignal): Promise<void> {
  const body = utf8(JSON.stringify(value));
  const response = await wire.send({
    method: 'POST',
    path,
    headers: json(),
    body,
    signal,
    headersTimeoutMs: tellTimeoutMs,
  });
  await response.body?.cancel();
}

const json = (): Headers => new Headers({ 'Content-Type': 'application/json' });
