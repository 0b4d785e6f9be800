// The one table of everything that can go wrong on the wire: server, SDK, OpenAPI document and /problems pages all read it.

export interface ErrorEntry {
  /** HTTP status of the answer. */
  readonly status: number;
  /** Short, stable summary (RFC 9457 `title`). */
  readonly title: string;
  /** Whether the same request may succeed later without a change. */
  readonly retry: boolean;
  /** One or two sentences for the person who reads `/problems/<code>`: what it means and what to do next. */
  readonly help: string;
}

const entry = (status: number, title: string, help: string, retry = false): ErrorEntry => ({
  status,
  title,
  retry,
  help,
});

/** Every problem code with its status (RFC 9457). The code is the last segment of the problem's `type`. */
export const errorTable = {
  'invalid-json': entry(
    400,
    'The body is not valid JSON',
    'Send one JSON value in UTF-8 without a byte order mark. Bodies of submitted work may be anything; this concerns the bodies that Waitless itself reads.',
  ),
  'invalid-parameter': entry(400, 'A parameter has a wrong value', 'The detail names the field and what it takes.'),
  'invalid-name': entry(
    400,
    'A name is not allowed',
    'Names start with a letter or digit and go on with letters, digits, "_" and "-", 128 characters at most.',
  ),
  'invalid-filter': entry(
    400,
    'A filter or pattern cannot be read',
    'Filters are objects with one of exact, prefix, suffix, all, any, not; patterns are words joined by dots, with * for one word and ** for any number.',
  ),
  'invalid-cloudevent': entry(
    400,
    'The event is not a valid CloudEvent',
    'CloudEvents 1.0 need specversion "1.0", id, source and type; attribute names are lower-case letters and digits. The detail names what is wrong.',
  ),
  'invalid-url': entry(
    400,
    'A URL cannot be read',
    'Send an absolute URL such as https://example.com/done, with its parts percent-encoded where needed.',
  ),
  'invalid-cursor': entry(400, 'The cursor is not one of ours', 'Start the list again without a cursor.'),
  'unknown-field': entry(
    400,
    'A field is not known here',
    'Remove the field that the detail names or mend its spelling.',
  ),
  'forbidden-key': entry(400, 'A key is not allowed in JSON', 'Keys such as __proto__ and constructor are refused.'),
  'payload-too-complex': entry(400, 'The JSON is nested too deeply or has too many keys', 'Flatten the document.'),
  'duplicate-header': entry(400, 'A header that may stand once stands twice', 'Send the named header once.'),
  'conflicting-headers': entry(400, 'Two headers contradict each other', 'The detail names both; drop one.'),
  'bad-host': entry(
    400,
    'The Host header is missing, doubled or not served here',
    'Use localhost, 127.0.0.1, [::1] or the public address the server was started with. Servers without an API key answer no other Host, against DNS rebinding.',
  ),
  'bad-request-target': entry(
    400,
    'The request target is not a path',
    'Send an origin-form target such as /v1/operations.',
  ),
  'bad-path': entry(
    400,
    'The path has parts that are not allowed',
    'Dot segments, doubled slashes, backslashes, NUL and broken percent-encoding are refused.',
  ),
  'bad-request': entry(400, 'The request cannot be read', 'The bytes sent are not a valid HTTP/1.1 request.'),
  'idempotency-key-invalid': entry(
    400,
    'The Idempotency-Key cannot be read',
    'Send a quoted string or a bare token of 1 to 255 visible ASCII characters.',
  ),
  unauthenticated: entry(
    401,
    'An API key is needed',
    "Send Authorization: Bearer KEY with a key from the server's key file.",
  ),
  'invalid-token': entry(
    401,
    'The token is none, or has expired',
    'Make a new one with POST /v1/tokens and an API key; it lives for an hour at most.',
  ),
  'origin-not-allowed': entry(
    403,
    'This Origin may not call the server',
    "Start the server with --cors-origin for the page's origin.",
  ),
  'reserved-topic': entry(
    403,
    'The topic belongs to the server',
    'Topics under operations. tell of operations and are published by the server alone. Choose another name.',
  ),
  'insufficient-scope': entry(
    403,
    'This key or token may not do that',
    'What concerns all namespaces at once, such as services and backups, takes a key of the namespace "default". A read-only token opens the look-ups of its operations and nothing else.',
  ),
  'not-found': entry(
    404,
    'There is nothing here',
    'The id is unknown, was never issued, or belongs to another namespace.',
  ),
  'unknown-service': entry(
    404,
    'There is no such service',
    'GET /v1/services lists those there are; a service comes from --target NAME=URL, --pull NAME, the config file or PUT /v1/services/NAME.',
  ),
  'unknown-subscription': entry(
    404,
    'There is no such subscription',
    'GET /v1/subscriptions lists those of this namespace; PUT /v1/subscriptions/NAME makes one.',
  ),
  'method-not-allowed': entry(405, 'The method is not allowed here', 'The Allow header lists those that are.'),
  'not-acceptable': entry(
    406,
    'There is no answer of a type that Accept names',
    'Ask for the type that the detail names, or leave out Accept.',
  ),
  'request-timeout': entry(
    408,
    'The request took too long to arrive',
    'Send the headers within 10 seconds and the body without long pauses.',
    true,
  ),
  'lease-lost': entry(
    409,
    'The lease has ended',
    'It expired, was released or was given to another worker; its answer is not recorded.',
  ),
  'result-already-recorded': entry(
    409,
    'Another result was recorded first',
    'The first answer of a lease wins and cannot be replaced.',
  ),
  'service-read-only': entry(
    409,
    'The service comes from the configuration',
    'It is changed where it is written (config file, environment or command line) and a restart; take another name for one over the API.',
  ),
  'backup-in-progress': entry(
    409,
    'A backup is under way',
    'One is made at a time. GET /v1/backup shows how far it is.',
  ),
  'backup-elsewhere': entry(
    409,
    'This store is not copied by the server',
    'The detail says how it is: a database with its own tools; a store in memory is gone with the process anyway.',
  ),
  'secrets-locked': entry(
    409,
    "The server's secret key cannot be used",
    'The detail says what is wrong with the key file. Bring back the one that the secrets were sealed with, or rotate: that makes a secret that this server can open.',
  ),
  'delivery-under-way': entry(
    409,
    'The delivery is being sent just now',
    'Look at what becomes of this attempt before having it sent once more.',
    true,
  ),
  'not-finished': entry(409, 'The operation has not ended', 'Only an ended operation can be purged. Cancel it first.'),
  'already-terminal': entry(409, 'The operation has already ended', 'An ended operation does not change any more.'),
  cancelled: entry(409, 'The operation was cancelled', 'There is no result; submit again if it is still wanted.'),
  'idempotency-in-progress': entry(
    409,
    'The first request with this key is still being stored',
    'Repeat the request after Retry-After.',
    true,
  ),
  'result-expired': entry(
    410,
    'The operation was kept and has been removed',
    'Its retention has passed. Submit again.',
  ),
  'payload-too-large': entry(413, 'The body is too large', 'The detail names the limit.'),
  'uri-too-long': entry(
    414,
    'The request target is too long',
    'Shorten the path or query, or send the data in the body.',
  ),
  'unsupported-media-type': entry(415, 'The media type is not read here', 'Send application/json.'),
  'unsupported-content-encoding': entry(
    415,
    'An encoded body is not read here',
    'Send the body without Content-Encoding. Bodies of submitted work may be encoded: they are passed on as they are.',
  ),
  'expectation-failed': entry(417, 'The Expect header is not understood', 'Only 100-continue is.'),
  'idempotency-key-reused': entry(
    422,
    'The Idempotency-Key was used for another request',
    'A key stands for one request: same method, path, query, Content-Type and body. Take a new key.',
  ),
  'target-forbidden': entry(
    422,
    'The target may not be used',
    'Targets given over the API must be public addresses, with a port for HTTP, and not this server itself. Start the server with --allow-network for the range, or name the service in the config file.',
  ),
  'callback-url-forbidden': entry(
    422,
    'The Callback-Url may not be called',
    'Callbacks go to public addresses, on a port for HTTP, without a user name, and not to this server itself. Start the server with --allow-network for other ranges.',
  ),
  'unsupported-scheme': entry(422, 'The URL has a scheme that is not spoken here', 'Only http and https are.'),
  'too-many-services': entry(422, 'There are too many services', 'Remove some that are not used any more.'),
  'unknown-target': entry(
    422,
    'The target of the subscription is not there',
    'Events start operations of services that are known. GET /v1/services lists them; make the service first.',
  ),
  'too-many-subscriptions': entry(422, 'There are too many subscriptions', 'Remove some that are not used any more.'),
  'too-many-topics': entry(
    422,
    'Too many topics have settings of their own',
    'Put {} to some that need none; those without keep what --event-retention and --event-max-bytes say.',
  ),
  'rate-limited': entry(429, 'Too many requests', 'Slow down and repeat after Retry-After.', true),
  'too-many-connections': entry(429, 'Too many connections or waiting requests', 'Repeat after Retry-After.', true),
  'too-many-callbacks': entry(
    429,
    'The end of this operation is told to as many as may be',
    'The same is being computed already, and a hundred callbacks wait for it. Submit without Callback-Url and wait for the result, or repeat after Retry-After.',
    true,
  ),
  'queue-full': entry(429, 'The queue is full', 'Repeat after Retry-After.', true),
  'too-many-headers': entry(431, 'The header block is too large', 'At most 100 header fields and 16 KB are read.'),
  'internal-error': entry(
    500,
    'Something broke inside Waitless',
    "The request id in the answer finds the line in the server's log.",
    true,
  ),
  'not-implemented': entry(
    501,
    'This is documented but not built yet',
    'The detail names the header, field or route. It is refused rather than ignored.',
  ),
  'attempts-exhausted': entry(
    502,
    'Every attempt failed',
    'The backend never gave an answer that could be kept; the timeline shows each attempt.',
  ),
  'failed-by-worker': entry(
    502,
    'The worker said that it cannot be done',
    "The detail has the worker's own code and words; errorCode has the code alone.",
  ),
  'bad-backend-response': entry(
    502,
    "The backend's answer cannot be replayed",
    'Fetch the result with ?envelope=json to see the whole of it.',
  ),
  overloaded: entry(
    503,
    'The server has no room for this request now',
    'Nothing was accepted. Repeat after Retry-After.',
    true,
  ),
  'storage-unavailable': entry(
    503,
    'The store cannot be written or read',
    "Nothing was accepted. The server's log says why.",
    true,
  ),
  'engine-unavailable': entry(
    503,
    'The database cannot be reached',
    'Where the answer has "accepted": false, nothing was accepted; otherwise it is not known: repeat with the same Idempotency-Key after Retry-After. The server goes on by itself once the database is back.',
    true,
  ),
  'shutting-down': entry(503, 'The server is stopping', 'Nothing was accepted. Repeat after Retry-After.', true),
  'timed-out': entry(504, 'The operation did not end in its time', 'Its timeout passed before a result came.'),
  'not-started-in-time': entry(
    504,
    'The operation was not started in its time',
    'Its start-by time passed while it waited.',
  ),
  'not-stored': entry(504, 'No stored result', 'The request asked for a stored result only and there is none.'),
  'insufficient-storage': entry(
    507,
    'The disk is full',
    "Nothing was accepted. Free some space on the data folder's disk; the server goes on by itself.",
    true,
  ),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorTable;

/** A problem document (RFC 9457, `application/problem+json`). */
export interface Problem {
  /** URL under /problems/ that explains the code. */
  type: string;
  title: string;
  status: number;
  /** What is wrong in this very request, naming the field. */
  detail?: string;
  /** The request id, also in the Request-Id header and in the server's log. */
  instance?: string;
  code: string;
  errors?: { pointer: string; detail: string }[];
  /** `false` when it is certain that nothing was stored. */
  accepted?: boolean;
}

/** An error with a code of the table; thrown by the server's core and by the SDK alike. */
export class WaitlessError extends Error {
  override readonly name = 'WaitlessError';
  readonly code: string;
  readonly status: number;
  /** Whether repeating the same request may help. */
  readonly retry: boolean;
  /** Seconds after which to repeat, where known. */
  readonly retryAfterSeconds: number | undefined;
  /** Extra members of the problem document. */
  readonly members: Readonly<Record<string, unknown>> | undefined;
  /** Header fields that belong to the answer, such as Allow. */
  readonly headers: Readonly<Record<string, string>> | undefined;

  constructor(
    code: ErrorCode | (string & {}),
    detail?: string,
    more: {
      status?: number;
      retryAfterSeconds?: number;
      members?: Record<string, unknown>;
      headers?: Record<string, string>;
      cause?: unknown;
    } = {},
  ) {
    const known = (errorTable as Record<string, ErrorEntry>)[code];
    super(detail ?? known?.title ?? code, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.status = more.status ?? known?.status ?? 500;
    this.retry = known?.retry ?? this.status >= 500;
    this.retryAfterSeconds = more.retryAfterSeconds;
    this.members = more.members;
    this.headers = more.headers;
  }
}
