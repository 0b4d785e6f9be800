// The answer to a batch: one outcome for each item, as an array or as lines.
import type { Outlooks } from '../../core/outlook.ts';
import type { Services } from '../../core/services.ts';
import type { Accepted, Submitted } from '../../core/submit.ts';
import { outcomeMembers } from '../json/outcome.ts';
import type { Answer, Exchange } from './exchange.ts';
import { problemAnswer } from './problems.ts';

export const jsonType = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i;
export const linesType = /^application\/(?:x-)?ndjson\s*(?:;|$)/i;

/** As the client asks, else as it sent. */
export function goesInLines({ headers }: Pick<Exchange, 'headers'>, cameInLines: boolean): boolean {
  const accepted = (headers('accept') ?? '').split(',').map((range) => range.trim());
  if (accepted.some((range) => linesType.test(range))) return true;
  return cameInLines && !accepted.some((range) => jsonType.test(range));
}

export const answerOf = (outcomes: readonly string[], inLines: boolean): Answer => ({
  status: 200,
  headers: [
    'Content-Type',
    inLines ? 'application/x-ndjson' : 'application/json; charset=utf-8',
    'Cache-Control',
    'no-store',
  ],
  body: inLines ? joined(outcomes, '\n', '\n') : `[${joined(outcomes, ',', '')}]`,
});

/** One text from so many, put together in one go when it is sent: half the price of `join`, which does it for each part first. */
function joined(outcomes: readonly string[], between: string, last: string): string {
  let text = '';
  for (const [i, outcome] of outcomes.entries()) text += i === 0 ? outcome : between + outcome;
  return text === '' ? '' : text + last;
}

type Pauses = (accepted: Accepted) => number | undefined;

/** Seconds after which it is worth asking for an accepted item: for those that were made just now the same in all of a service. */
export function pausesOf({
  services,
  outlooks,
  receivedAt,
}: {
  services: Services;
  outlooks: Pick<Outlooks, 'ofSubmitted'>;
  receivedAt: number;
}): Pauses {
  const waitedMs = performance.now() - receivedAt;
  const known = new Map<string, number>();
  return (accepted) => {
    const before = accepted.record ? undefined : known.get(accepted.service);
    if (before !== undefined) return before;
    const service = services.get(accepted.service);
    if (!service) return undefined;
    const seconds = outlooks.ofSubmitted({ ...accepted, service, waitedMs });
    if (!accepted.record) known.set(accepted.service, seconds);
    return seconds;
  };
}

/** What became of an item: the status, and what body and headers of the answer to a request of its own would have told. */
export function outcomeJson(
  exchange: Pick<Exchange, 'base' | 'requestId'>,
  outcome: Submitted | Error,
  pauses: Pauses,
): string {
  if (outcome instanceof Error) {
    const { status, headers, body } = problemAnswer(outcome, exchange);
    const at = headers.indexOf('Retry-After');
    return `{"status":${status},${at < 0 ? '' : `"retryAfter":${headers[at + 1]},`}"problem":${body as string}}`;
  }
  if (outcome.kind === 'forgotten') return '{"status":202}';
  const fromStore = outcome.kind === 'stored' || outcome.fromStore;
  const retryAfter = fromStore ? undefined : pauses(outcome);
  return `{"status":${fromStore ? 200 : 202},${outcomeMembers(outcome, { base: exchange.base, retryAfter })}}`;
}
