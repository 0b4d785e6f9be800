// Replays a stored result: the backend's status, end-to-end fields and bytes, less what must not act on our origin.
import { isReplayable, type OperationStatus, WaitlessError } from '@waitless/protocol';
import type { Replay } from '../../core/fetch.ts';
import type { Accepted } from '../../core/submit.ts';
import type { ResultContent } from '../../engine/engine.ts';
import { bodyMember } from '../json/body-member.ts';
import type { Answer, Exchange } from './exchange.ts';

export interface Replayed {
  id: string;
  status: OperationStatus;
  replay: Replay;
}

/** A result that was just committed by this very process. */
export function inMemory(accepted: Accepted, result: ResultContent): Replayed {
  const failed = result.status >= 400 || (result.status >= 300 && result.status !== 303);
  return {
    id: accepted.id,
    status: failed ? 'failed' : 'succeeded',
    replay: {
      status: result.status,
      headers: result.headers,
      hash: result.hash,
      bodyBytes: result.body.length,
      body: result.body,
    },
  };
}

/** Not replayed bare: a redirect or a login of the backend would act on the client as if it were ours. */
const onlyInEnvelope = (status: number): boolean =>
  status === 401 || status === 407 || (status >= 300 && status < 400 && status !== 303);

/** A stored result is replayed again and again: what of its fields may be is found out once. */
const known = new WeakMap<readonly string[], readonly string[]>();

/** The fields that may act on the client, of those that the backend sent. */
function replayable(headers: readonly string[]): readonly string[] {
  let kept = known.get(headers);
  if (!kept) {
    kept = headers.filter((_, i) => isReplayable(headers[i - (i % 2)]!.toLowerCase()));
    known.set(headers, kept);
  }
  return kept;
}

/** 200-599 with a body where HTTP allows one. */
export function replayAnswer(exchange: Pick<Exchange, 'base' | 'headers'>, { id, status, replay }: Replayed): Answer {
  if (onlyInEnvelope(replay.status)) {
    throw new WaitlessError(
      'bad-backend-response',
      `the backend answered ${replay.status}, which is not replayed bare; add ?envelope=json to see it`,
      { headers: { 'Operation-Id': id } },
    );
  }
  const headers = [...replayable(replay.headers)];
  const etag = `"${replay.hash}"`;
  headers.push(
    'Operation-Id',
    id,
    'Operation-Status',
    status,
    'Content-Location',
    `${exchange.base}/v1/operations/${id}/result`,
    'ETag',
    etag,
    'Cache-Control',
    'private, no-cache',
    'X-Content-Type-Options',
    'nosniff',
    'Content-Security-Policy',
    'sandbox',
  );
  if (replay.status < 300 && matchesEtag(exchange.headers('if-none-match'), etag))
    return {
      status: 304,
      headers: headers.filter((_, i) => !/^content-(type|length|encoding)$/i.test(headers[i - (i % 2)]!)),
    };
  const bodyless = replay.status === 204 || replay.status === 304 || replay.status === 205;
  return bodyless
    ? { status: replay.status, headers }
    : { status: replay.status, headers, body: replay.body, bodyBytes: replay.bodyBytes };
}

/** RFC 9110 13.1.2, weak comparison. */
export function matchesEtag(field: string | undefined, etag: string): boolean {
  if (field === undefined) return false;
  const bare = etag.replace(/^W\//, '');
  return field.trim() === '*' || field.split(',').some((tag) => tag.trim().replace(/^W\//, '') === bare);
}

/** `?envelope=json`: everything, also what a bare replay leaves out, in a 200. A body that streams goes as base64 whatever it is, never whole in memory. */
export function envelopeAnswer({ id, status, replay }: Replayed): Answer {
  const pairs = [];
  for (let i = 0; i < replay.headers.length; i += 2) pairs.push([replay.headers[i], replay.headers[i + 1]]);
  const start = `{"status":${replay.status},"headers":${JSON.stringify(pairs)},`;
  return {
    status: 200,
    headers: [
      'Content-Type',
      'application/json; charset=utf-8',
      'Operation-Id',
      id,
      'Operation-Status',
      status,
      'Cache-Control',
      'private, no-cache',
    ],
    ...(replay.body instanceof Uint8Array
      ? { body: `${start}${bodyMember(replay.body)}}` }
      : {
          body: base64Member(start, replay.body),
          bodyBytes:
            Buffer.byteLength(start) + base64Start.length + 4 * Math.ceil(replay.bodyBytes / 3) + base64End.length,
        }),
  };
}

const base64Start = '"bodyBase64":"';
const base64End = '"}';

/** Three bytes become four characters, so what is left of a chunk goes with the next. */
async function* base64Member(start: string, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield Buffer.from(start + base64Start);
  let left: Uint8Array = new Uint8Array(0);
  for await (const chunk of body) {
    const bytes =
      left.length === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length) : Buffer.concat([left, chunk]);
    const whole = bytes.length - (bytes.length % 3);
    yield Buffer.from(bytes.toString('base64', 0, whole), 'latin1');
    left = bytes.subarray(whole);
  }
  yield Buffer.from(Buffer.from(left).toString('base64') + base64End, 'latin1');
}
