// The OpenAPI document, made from the protocol's tables so that it cannot say anything else than what is served.
import { callMethods, type HeaderEntry, headerTable, type Route, routes, schemas } from '@waitless/protocol';
import {
  answerHeaders,
  type Fields,
  headerDetails,
  type ParameterDetail,
  pathDetails,
  queryDetails,
  tagDescriptions,
} from './openapi-details.ts';
import { bodyExamples } from './openapi-examples.ts';
import { component, headerRefs, problemResponses, problemsOf } from './openapi-problems.ts';

export interface OpenApiOptions {
  /** Version of the server. */
  readonly version: string;
  /** Base of every URL, such as `http://127.0.0.1:7878`. */
  readonly serverUrl: string;
}

type CallMethod = (typeof callMethods)[number];

/** A body of these methods has no defined meaning (RFC 9110 9.3.1, 9.3.2, 9.3.5), so tools that read this document would stumble; it is passed on all the same. */
const bodiless: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE']);

const receiptHeaders = [
  'Operation-Id',
  'Operation-Location',
  'Location',
  'Correlation-Id',
  'Retry-After',
  'Preference-Applied',
  'Idempotent-Replayed',
  'Operation-Durability',
  'Cache-Status',
  'RateLimit-Policy',
  'RateLimit',
];
const resultHeaders = [
  'Operation-Id',
  'Operation-Status',
  'Correlation-Id',
  'Content-Location',
  'ETag',
  'Age',
  'Cache-Status',
  'Preference-Applied',
];
const statusHeaders = ['ETag', 'Retry-After', 'Preference-Applied'];

const builtHeaders: readonly HeaderEntry[] = headerTable.filter((entry) => entry.built);
const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
/** OpenAPI 3.1: every route of the table and nothing else; what is documented but not built is left out. */
export function openApiDocument({ version, serverUrl }: OpenApiOptions): Fields {
  const base = serverUrl.replace(/\/+$/, '');
  const context = { examples: bodyExamples(base) };
  const paths: Record<string, Fields> = {};
  for (const [name, route] of Object.entries(routes) as [string, Route][]) {
    const path = (paths[route.path.replace('…', '')] ??= {});
    if (route.method !== 'ANY') path[route.method.toLowerCase()] = operation(name, route, route.method, context);
    else
      for (const method of callMethods)
        path[method.toLowerCase()] = operation(name + capital(method.toLowerCase()), route, method, context);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Waitless',
      version,
      summary: 'An asynchronous face for slow HTTP APIs.',
      description:
        'Send a request to `/v1/call/{service}` and get a 202 with an operation id at once, or wait for the result with `Prefer: wait=N`. ' +
        'The state of an operation is at `/v1/operations/{id}`, its result at `/v1/operations/{id}/result`. ' +
        'Errors are problem documents (RFC 9457) whose `type` is a page that explains them. ' +
        'An API key is needed only where the server was started with a key file.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: base, description: 'This server' }],
    tags: Object.entries(tagDescriptions).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: "A key of the server's key file: `Authorization: Bearer KEY`.",
        },
        readToken: {
          type: 'apiKey',
          in: 'query',
          name: 'token',
          description: 'A read-only token of `POST /v1/tokens`, for the operations that it names; instead of a key.',
        },
      },
      parameters: headerParameters(),
      headers: answerHeaderComponents(),
      responses: problemResponses(base),
      schemas,
    },
  };
}

interface Context {
  readonly examples: Readonly<Record<string, unknown>>;
}

function operation(operationId: string, route: Route, method: CallMethod, context: Context): Fields {
  const withBody = route.input !== undefined && !bodiless.has(method);
  return {
    operationId,
    tags: [route.tag],
    summary: route.summary,
    security: [
      ...(route.access === 'key' ? [{ bearer: [] }] : []),
      ...(route.readableByToken ? [{ readToken: [] }] : []),
    ],
    parameters: parametersOf(route),
    ...(withBody
      ? { requestBody: { required: route.input !== 'bytes', content: contentOf(route.input!, context) } }
      : {}),
    responses: { ...successes(route, method, context), ...problemsOf(route) },
  };
}

function parametersOf(route: Route): Fields[] {
  // Where a name means something else in one collection, that stands under both.
  const detail = (of: typeof pathDetails, name: string): ParameterDetail | undefined =>
    of[`${route.path.split('/')[2]} ${name}`] ?? of[name];
  const inPath = [...route.path.matchAll(/\{([a-z]+)…?\}/g)].map(([, name]) =>
    parameter('path', name!, detail(pathDetails, name!)),
  );
  const inQuery = (route.query ?? [])
    .filter(({ built }) => built !== false)
    .map(({ name, summary }) => queryParameter(name, summary, detail(queryDetails, name)));
  const built = (name: string): boolean =>
    builtHeaders.some((entry) => entry.direction === 'request' && entry.name === name);
  const headers = (route.headers ?? []).filter(built);
  const conditional = 304 in route.output ? ['If-None-Match'] : [];
  return [...inPath, ...inQuery, ...[...headers, ...conditional].map((name) => component('parameters', name))];
}

function parameter(
  place: 'path' | 'query' | 'header',
  name: string,
  detail: ParameterDetail | undefined,
  description = detail?.description,
): Fields {
  if (detail === undefined) throw new Error(`the ${place} parameter ${name} has no schema for the OpenAPI document`);
  const { schema, example } = detail;
  return {
    name,
    in: place,
    ...(place === 'path' ? { required: true } : {}),
    description,
    schema,
    ...(example === undefined ? {} : { example }),
  };
}

function queryParameter(name: string, summary: string, detail: ParameterDetail | undefined): Fields {
  if (!name.endsWith('.*')) return parameter('query', name, detail, summary);
  // An exploded object puts its own keys into the query: the one way to say "any parameter that begins with this".
  const prefix = name.slice(0, -2);
  return {
    name: `${prefix}s`,
    in: 'query',
    description: summary,
    style: 'form',
    explode: true,
    schema: {
      type: 'object',
      patternProperties: { [`^${prefix}\\.`]: { type: 'string' } },
      additionalProperties: false,
    },
    example: { [`${prefix}.customer`]: '42' },
  };
}

function headerParameters(): Fields {
  const used = new Set((Object.values(routes) as Route[]).flatMap((route) => route.headers ?? []));
  const entries = builtHeaders.filter(({ direction, name }) => direction === 'request' && used.has(name));
  return Object.fromEntries([
    ...entries.map(({ name, summary }) => [name, parameter('header', name, headerDetails[name], summary)]),
    ['If-None-Match', parameter('header', 'If-None-Match', headerDetails['If-None-Match'])],
  ]);
}

function answerHeaderComponents(): Fields {
  const ours = builtHeaders
    .filter(({ direction }) => direction === 'response')
    .map(({ name, summary }) => [name, { description: summary, schema: { type: 'string' } }]);
  return Object.fromEntries([...ours, ...Object.entries(answerHeaders)]);
}

/** Bodies that may also go one item a line, and what a line is. */
const lines: Readonly<Record<string, string>> = { BatchRequest: 'BatchItem', BatchResponse: 'BatchOutcome' };

/** OpenAPI 3.1 has no word for what stands in a stream either. */
const streamSchema: Fields = {
  type: 'string',
  description:
    'Server-Sent Events. Of operations `data` is an `OperationEvent`, `event` what its type ends with, and `id` its `eventId`; of topics `data` is the CloudEvent in structured JSON, `event` is `event`, and `id` its position. In a stream of many `id` is the place in all of them.',
};

/** Pages of events that are told as streams too. */
const streamedToo: ReadonlySet<string> = new Set(['OperationEventPage', 'EventPage']);

/** Content of a body by what the route table calls it. */
function contentOf(kind: string, { examples }: Context): Fields {
  if (kind === 'bytes') return { '*/*': { schema: { description: 'Opaque bytes of any media type.' } } };
  if (kind === 'css') return { 'text/css': { schema: { type: 'string' } } };
  if (kind === 'html') return { 'text/html': { schema: { type: 'string' } } };
  if (kind === 'text') return { 'text/plain': { schema: { type: 'string' } } };
  if (kind === 'events') return { 'text/event-stream': { schema: streamSchema } };
  if (kind === 'json') return { 'application/json': { schema: { type: 'object' } } };
  const inJson = (name: string): Fields => ({
    schema: component('schemas', name),
    ...(name in examples ? { example: examples[name] } : {}),
  });
  const line = lines[kind];
  const stream = streamedToo.has(kind) ? { 'text/event-stream': { schema: streamSchema } } : {};
  return {
    ...stream,
    'application/json': inJson(kind),
    // Each line is one value of this schema; OpenAPI 3.1 has no word for that.
    ...(line === undefined ? {} : { 'application/x-ndjson': inJson(line) }),
  };
}

function successes(route: Route, method: CallMethod, context: Context): Fields {
  const answers: Fields = {};
  for (const [status, kind] of Object.entries(route.output)) {
    const isResult = kind === 'bytes';
    const names =
      kind === 'OperationReceipt'
        ? receiptHeaders
        : isResult
          ? resultHeaders
          : kind === 'Operation' || status === '304'
            ? statusHeaders
            : [];
    const content = kind === null || method === 'HEAD' ? undefined : contentOf(kind, context);
    if (isResult && content && route.query?.some(({ name }) => name === 'envelope'))
      Object.assign(content, contentOf('ResultEnvelope', context));
    answers[status] = {
      description: describe(status, kind),
      headers: headerRefs(names),
      ...(content ? { content } : {}),
    };
    if (isResult) {
      answers['default'] = {
        description:
          'The result with the status the backend gave it, such as its own 404. `Operation-Status` stands on every result and on no problem of Waitless.',
        headers: headerRefs(resultHeaders),
        ...(method === 'HEAD' ? {} : { content: contentOf('bytes', context) }),
      };
    }
  }
  return answers;
}

function describe(status: string, kind: string | null): string {
  if (status === '303') return 'Done: the result is at `Location`. Only with `?on-complete=303`.';
  if (status === '304') return 'Nothing has changed.';
  if (status === '204') return 'Done; there is nothing to show.';
  if (kind === 'OperationReceipt')
    return 'Accepted, and on disk unless `Operation-Durability` says otherwise. The body is the immutable part of the status document; it is empty for `none`.';
  if (status === '202') return 'Not done yet: the status document.';
  return kind === 'bytes' ? "The result: the backend's answer, byte for byte." : 'Done.';
}
