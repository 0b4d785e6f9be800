// What routes of several areas have in common.
import type { ErrorCode } from '../errors.ts';

export const resultErrors: readonly ErrorCode[] = [
  'not-found',
  'cancelled',
  'result-expired',
  'attempts-exhausted',
  'failed-by-worker',
  'bad-backend-response',
  'timed-out',
  'not-started-in-time',
];

export const leaseErrors: readonly ErrorCode[] = [
  'rate-limited',
  'invalid-name',
  'invalid-json',
  'invalid-parameter',
  'unknown-field',
  'not-found',
  'lease-lost',
  'already-terminal',
  'cancelled',
  'unsupported-media-type',
  'payload-too-large',
];

export const envelopeParameter = {
  name: 'envelope',
  summary: '`json` shows status, headers and body in a 200.',
} as const;

export const pageParameters = [
  { name: 'limit', summary: '1 to 1000, default 50.' },
  { name: 'cursor', summary: '`next` of the page before.' },
] as const;

/** Of topics as Server-Sent Events. */
export const topicStreamParameters = [
  {
    name: 'from',
    summary:
      'Streams of topics: `now` (the default), `start`, or a position or cursor to go on after; `Last-Event-ID` goes before.',
  },
  { name: 'filter', summary: 'Streams of topics: a filter as of a subscription, its JSON, 4096 characters at most.' },
] as const;
