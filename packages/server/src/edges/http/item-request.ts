// What a request inside an envelope asks for: judged as it would be with a head of its own.
import { WaitlessError } from '@waitless/protocol';
import type { Services } from '../../core/services.ts';
import type { SubmitRequest } from '../../core/submit.ts';
import type { CallItem } from '../json/call-item.ts';
import type { Exchange, FieldLookup } from './exchange.ts';
import { checkFields, checkTarget } from './raw-checks.ts';
import { readSubmission } from './submission.ts';

type HeadRequest = Omit<SubmitRequest, 'body'>;
export type Sender = Pick<Exchange, 'namespace' | 'base'>;
export type ItemReader = (item: CallItem, from: Sender) => SubmitRequest;

/** Where an item stands, and what serves those who want more than a receipt. */
const places = {
  batch: {
    wait: 'a batch, which waits for none of its items; send it with the look-up of the operation',
    stream: 'a batch, whose answer is one for all; read /v1/operations/{id}/events of the operation',
  },
  frame: {
    wait: 'a frame; add "watch" to it, and the events follow',
    stream: 'a frame; add "watch" to it, and the events follow',
  },
} as const;

/** Throws for what is no request. Many envelopes have one head in all items, so that of the last one is not judged again while it stays the same. */
export function itemReader({ services, where }: { services: Services; where: keyof typeof places }): ItemReader {
  let known: { item: CallItem; from: Sender; request: HeadRequest } | undefined;
  return (item, from) => {
    const { service } = known?.request ?? {};
    // A service may have been changed or removed since.
    const fits =
      known && sameHead(item, known.item) && sameSender(from, known.from) && services.get(item.service) === service;
    if (!fits) known = { item: { ...item, body: noBody }, from, request: readHead(item, from, { services, where }) };
    return withBody(known!.request, item.body);
  };
}

const noBody = Buffer.alloc(0);

const sameSender = (one: Sender, other: Sender): boolean =>
  one.namespace === other.namespace && one.base === other.base;

function readHead(
  { service, method, path, query, rawHeaders }: CallItem,
  { namespace, base }: Sender,
  { services, where }: { services: Services; where: keyof typeof places },
): HeadRequest {
  // What the listener asks of a request of its own; the name of the service is judged with words of its own.
  checkTarget(method, `/v1/call/service${path}${query === '' ? '' : `?${query}`}`);
  checkFields(rawHeaders);
  const head = { namespace, service, method, path, query, headers: lookUpIn(rawHeaders), rawHeaders, base };
  const { request, hold, streams } = readSubmission(head, { services, maxWaitMs: 0 });
  if (hold.preferences.waitSeconds !== undefined)
    throw new WaitlessError('invalid-parameter', `Prefer: wait cannot be honoured in ${places[where].wait}`, {
      members: { accepted: false },
    });
  if (streams)
    throw new WaitlessError(
      'invalid-parameter',
      `Accept: text/event-stream cannot be honoured in ${places[where].stream}`,
      { members: { accepted: false } },
    );
  return request;
}

function sameHead(one: CallItem, other: CallItem): boolean {
  return (
    one.service === other.service &&
    one.method === other.method &&
    one.path === other.path &&
    one.query === other.query &&
    one.rawHeaders.length === other.rawHeaders.length &&
    one.rawHeaders.every((text, i) => text === other.rawHeaders[i])
  );
}

function withBody(request: HeadRequest, body: Buffer): SubmitRequest {
  const limit = request.service.maxBodyBytes;
  if (body.length > limit)
    throw new WaitlessError('payload-too-large', `the body is larger than the limit of ${limit} bytes`, {
      members: { limitBytes: limit, accepted: false },
    });
  // What is kept in memory alone must not keep the whole batch there.
  return { ...request, body: request.durability === 'none' ? Buffer.from(body) : body };
}

/** First value of a field by lower-case name; several of one name as one list, as the fields of a request are read. */
function lookUpIn(rawHeaders: readonly string[]): FieldLookup {
  if (rawHeaders.length === 0) return () => undefined;
  const found = new Map<string, string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    const before = found.get(name);
    found.set(name, before === undefined ? rawHeaders[i + 1]! : `${before}, ${rawHeaders[i + 1]!}`);
  }
  return (name) => found.get(name);
}
