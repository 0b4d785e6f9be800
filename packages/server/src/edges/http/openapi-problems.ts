// The error answers of the OpenAPI document: one response per status, with every code of the error table that has it.
import { type ErrorCode, type ErrorEntry, errorTable, type Route, routes, takesTokens } from '@waitless/protocol';
import type { Fields } from './openapi-details.ts';

/** What the edge itself may answer on any route, before the route is reached. */
const edgeErrors: readonly ErrorCode[] = [
  'bad-request',
  'bad-host',
  'bad-request-target',
  'bad-path',
  'duplicate-header',
  'origin-not-allowed',
  'request-timeout',
  'uri-too-long',
  'expectation-failed',
  'too-many-headers',
  'internal-error',
];
const keyErrors: readonly ErrorCode[] = ['unauthenticated', 'rate-limited'];
const tokenErrors: readonly ErrorCode[] = ['invalid-parameter', 'invalid-token', 'insufficient-scope'];

const entryOf = (code: ErrorCode): ErrorEntry => errorTable[code];
export const component = (kind: string, name: string): Fields => ({ $ref: `#/components/${kind}/${name}` });

/** References to the headers of an answer; every answer has a Request-Id. */
export const headerRefs = (names: readonly string[]): Fields =>
  Object.fromEntries(['Request-Id', ...names].map((name) => [name, component('headers', name)]));

/** Every distinct error answer once, named after the first route that gives it: `call429`, or `edge431` where it is every route's. */
function collect(): ReadonlyMap<
  string,
  { readonly name: string; readonly status: number; readonly codes: readonly ErrorCode[] }
> {
  const found = new Map<string, { name: string; status: number; codes: readonly ErrorCode[] }>();
  const add = (prefix: string, groups: ReadonlyMap<number, readonly ErrorCode[]>): void => {
    for (const [status, codes] of groups) {
      if (!found.has(codes.join())) found.set(codes.join(), { name: `${prefix}${status}`, status, codes });
    }
  };
  add('edge', groupByStatus(edgeErrors));
  for (const [name, route] of Object.entries(routes) as [string, Route][]) add(name, errorsOf(route));
  return found;
}

const collected = collect();

/** The error answers of a route by status, as references into `problemResponses`. */
export const problemsOf = (route: Route): Fields =>
  Object.fromEntries(
    [...errorsOf(route)].map(([status, codes]) => [
      String(status),
      component('responses', collected.get(codes.join())!.name),
    ]),
  );

/** The shared error answers by name; `base` is the URL of the server. */
export const problemResponses = (base: string): Fields =>
  Object.fromEntries([...collected.values()].map(({ name, status, codes }) => [name, problem(status, codes, base)]));

function errorsOf(route: Route): Map<number, ErrorCode[]> {
  return groupByStatus([
    ...edgeErrors,
    ...(route.access === 'key' ? keyErrors : []),
    ...(takesTokens(route) ? tokenErrors : []),
    ...route.errors,
  ]);
}

function groupByStatus(codes: readonly ErrorCode[]): Map<number, ErrorCode[]> {
  const groups = new Map<number, ErrorCode[]>();
  for (const code of new Set(codes.toSorted()))
    groups.set(entryOf(code).status, [...(groups.get(entryOf(code).status) ?? []), code]);
  return new Map([...groups].sort(([a], [b]) => a - b));
}

function problem(status: number, codes: readonly ErrorCode[], base: string): Fields {
  const examples = Object.fromEntries(
    codes.map((code) => [
      code,
      {
        summary: entryOf(code).title,
        value: {
          type: `${base}/problems/${code}`,
          title: entryOf(code).title,
          status,
          detail: entryOf(code).help,
          code,
        },
      },
    ]),
  );
  const pause = status === 429 || status === 503 || codes.includes('idempotency-in-progress');
  return {
    description: codes.map((code) => `\`${code}\`: ${entryOf(code).title}.`).join(' '),
    headers: headerRefs([
      ...(pause ? ['Retry-After'] : []),
      ...(status === 429 ? ['RateLimit-Policy', 'RateLimit'] : []),
    ]),
    content: { 'application/problem+json': { schema: component('schemas', 'Problem'), examples } },
  };
}
