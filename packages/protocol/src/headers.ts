// The one table of header fields that Waitless gives a meaning, in lower case as they are compared.

export interface HeaderEntry {
  readonly name: string;
  readonly direction: 'request' | 'response' | 'backend';
  readonly built: boolean;
  readonly summary: string;
}

const h = (name: string, direction: HeaderEntry['direction'], summary: string, built = true): HeaderEntry => ({
  name,
  direction,
  built,
  summary,
});

/** Headers of a submit, of answers, and of the request a backend gets. `built: false` is refused with 501. */
export const headerTable = [
  h(
    'Prefer',
    'request',
    '`respond-async` answers 202; `wait=N` holds up to N seconds and falls back to 202 for the same operation (RFC 7240).',
  ),
  h(
    'Idempotency-Key',
    'request',
    'Makes a repeat safe: the same key and the same request give the same operation. Quoted string or bare token, 255 characters at most.',
  ),
  h(
    'Correlation-Id',
    'request',
    "The client's own id for the conversation, echoed everywhere; the operation id by default.",
  ),
  h('Operation-Timeout', 'request', 'Total time allowed, such as `30s` or `10m`; capped by the service.'),
  h('Operation-Delay', 'request', 'Do not start before this much time has passed.'),
  h('Operation-Start-By', 'request', 'Give up when not started within this time.'),
  h('Operation-Priority', 'request', '0 to 9, default 5: a head start of seconds in the queue, on the first attempt.'),
  h('Operation-Labels', 'request', '`name=value, name=value`, queryable in lists.'),
  h('Operation-Durability', 'request', '`stored` (default), `memory` or `none`; echoed in the answer.'),
  h('traceparent', 'request', 'W3C trace context, continued on every attempt.'),
  h('tracestate', 'request', 'W3C trace context, continued on every attempt.'),
  h(
    'Cache-Control',
    'request',
    '`no-cache`, `max-age`, `no-store`; `only-if-cached` answers 504 `not-stored` where nothing is stored.',
  ),
  h(
    'Result-Key',
    'request',
    'Business key under which the result is kept: UTF-8 of at most 512 bytes. Where the service has a rule for keys, absent or equal to what that yields.',
  ),
  h(
    'Last-Event-ID',
    'request',
    'The last event that the client knows: a stream goes on after it. On a submit that asks for a stream, the stream of that operation goes on and nothing new is submitted.',
  ),
  h(
    'Ordering-Key',
    'request',
    'Operations of one ordering key run one at a time, in the order in which they were accepted; events of one reach an ordered subscription in order.',
  ),
  h('Callback-Url', 'request', 'Where to POST a signed notice once the operation has ended.'),
  h('Callback-Events', 'request', '`progress` asks for a notice of each progress too.'),
  h('Callback-Body', 'request', '`thin` leaves the result out of the notice; `full` (default) has it up to 64 KB.'),
  h('Operation-Id', 'response', 'The id of the operation.'),
  h('Operation-Location', 'response', 'URL of the status document.'),
  h('Operation-Status', 'response', 'Final status; on every replayed result and on no problem of ours.'),
  h('Idempotent-Replayed', 'response', '`true` when the answer repeats an earlier one.'),
  h('Preference-Applied', 'response', 'The preferences that were honoured (RFC 7240).'),
  h('Request-Id', 'response', "Finds the request in the server's log."),
  h(
    'RateLimit-Policy',
    'response',
    'A limit that the answer is about: its name, `q` how many, `w` in how many seconds.',
  ),
  h('RateLimit', 'response', 'What is left of it: `r` how many now, `t` seconds until there are more.'),
  h('Result-Status', 'request', "Status of a worker's reply, default 200."),
  h('Operation-Attempt', 'backend', 'Number of this attempt, from 1.'),
  h('Operation-Last-Attempt', 'backend', '`true` on the last attempt.'),
  h('Operation-Deadline', 'backend', "When the operation's time ends (RFC 3339)."),
  h('Operation-Reply-Url', 'backend', 'Where to POST the result after answering 202.'),
  h('Operation-Progress-Url', 'backend', 'Where to POST progress.'),
] as const satisfies readonly HeaderEntry[];

const lower = (direction: string, built: boolean): string[] =>
  headerTable.filter((e) => e.direction === direction && e.built === built).map((e) => e.name.toLowerCase());

/** Request headers that are documented and refused until they are built, lower case → as documented. */
export const unbuiltRequestHeaders: ReadonlyMap<string, string> = new Map(
  headerTable.filter((e) => e.direction === 'request' && !e.built).map((e) => [e.name.toLowerCase(), e.name]),
);

/** Hop-by-hop fields (RFC 9110 7.6.1, RFC 9112), never passed on in either direction. `Connection` may name more. */
export const hopByHopHeaders: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/** Not forwarded to a backend unless the service's `forward` opts one in: they speak to us or would change the meaning of the stored result. */
export const unforwardedRequestHeaders: ReadonlySet<string> = new Set([
  ...hopByHopHeaders,
  'host',
  'content-length',
  'authorization',
  'cookie',
  'accept-encoding',
  'range',
  'expect',
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
  'if-range',
  'cache-control',
  ...lower('request', true),
  ...lower('request', false),
  ...lower('response', true),
  ...lower('backend', true),
]);

/** Never replayed to clients from a backend's answer: they would act on our origin or contradict ours. */
export const unreplayedResponseHeaders: ReadonlySet<string> = new Set([
  ...hopByHopHeaders,
  'content-length',
  'date',
  'set-cookie',
  'set-cookie2',
  'strict-transport-security',
  'clear-site-data',
  'alt-svc',
  'retry-after',
  'cache-control',
  'content-security-policy',
  'content-security-policy-report-only',
  'etag',
  'age',
  'accept-ranges',
  'content-location',
  'x-content-type-options',
  'cache-status',
  'correlation-id',
  'idempotency-key',
  'operation-reply-url',
  'operation-progress-url',
  ...lower('response', true),
  ...lower('backend', true),
]);

/** `Access-Control-*` is filtered by prefix: a backend must not open our origin. */
export const isReplayable = (lowerName: string): boolean =>
  !unreplayedResponseHeaders.has(lowerName) && !lowerName.startsWith('access-control-');

/** Headers that may stand once only; two of them are 400 `duplicate-header`, since each end would pick another one. */
export const singletonHeaders: ReadonlySet<string> = new Set([
  'authorization',
  'content-type',
  'content-length',
  'idempotency-key',
  'correlation-id',
  'content-encoding',
  'traceparent',
  'origin',
  'expect',
  'if-none-match',
  'operation-timeout',
  'operation-delay',
  'operation-start-by',
  'operation-priority',
  'operation-durability',
  'result-key',
  'ordering-key',
  'callback-url',
  'callback-events',
  'callback-body',
  'result-status',
]);

/** What a browser page may read of our answers (Access-Control-Expose-Headers). */
export const exposedHeaders: string = [
  ...headerTable.filter((e) => e.direction === 'response').map((e) => e.name),
  'Correlation-Id',
  'Location',
  'Retry-After',
  'ETag',
  'Cache-Status',
  'Age',
  'Operation-Durability',
].join(', ');
