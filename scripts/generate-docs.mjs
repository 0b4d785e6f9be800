// Writes the tables of docs/ that would go stale if people kept them by hand: options, service fields, routes, headers, problems.
// `node scripts/generate-docs.mjs` after a build; a test fails when a table does not say what the code does.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { errorTable, headerTable, routes, unbuiltRoutes } from '@waitless/protocol';
import { describeConfig, optionTable, resolveConfig } from '@waitless/server';
import { parse } from 'yaml';

const docs = fileURLToPath(new URL('../docs/', import.meta.url));

/** A cell: one line, no bar that would end it. @param {string} text */
const cell = (text) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
/** @param {string} text */
const sentence = (text) => cell(text.charAt(0).toUpperCase() + text.slice(1));
/** @param {string} text */
const code = (text) => `\`${cell(text)}\``;

/** @param {readonly string[]} titles @param {readonly (readonly string[])[]} rows */
const table = (titles, rows) =>
  [titles, titles.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

function options() {
  const rows = optionTable.map(({ flag, argument, env, field, list, default: value, help, reason }) => [
    code(argument === undefined ? flag : `${flag} ${argument}`) + (list ? '<br>may be repeated' : ''),
    `${code(env)}<br>${field === undefined ? 'not in a file' : code(field)}`,
    value === undefined ? 'not set' : code(value),
    `${sentence(help)}. *${cell(reason)}*`,
  ]);
  return table(['flag', 'environment, field of the file', 'default', 'what it does, *and why this default*'], rows);
}

/** What each field of a service means; the defaults come from the code. */
const serviceWords = /** @type {Record<string, string>} */ ({
  target:
    'Where the work is done: `{ url: "http://…" }`, a backend that is called, with `headers: { Name: value }` of your own where it needs them, and a `secret` that [each request is signed](http-api.md#signed-requests) with; or `{ pull: true }`, workers that [take it themselves](workers.md). A URL has no query and no user name.',
  mode: 'What a submit without `Prefer` gets: `async` a 202 at once, `sync` the result when it comes within `syncWait`, else a 202.',
  syncWait:
    'How long `mode: sync` holds a request. At most `--max-wait`. *Longer holds are cut by proxies on the way.*',
  forward:
    'Names of request headers that go on to the backend although they usually stay here, such as `["authorization"]`. *None, because a credential for Waitless is no business of the backend.*',
  retryFailed:
    'Whether a repeated `Idempotency-Key` whose operation failed starts the work again. *Off: a repeat tells what became of the first.*',
  idempotencyTtl:
    'How long an `Idempotency-Key` is remembered. *A day covers a client that was down over night; each key costs a row.*',
  timeout:
    'The longest time allowed for the whole operation, all attempts and pauses included, counted from when it may start. A request may ask for less.',
  attemptTimeout:
    'How long one attempt at a backend may take. *Connections silent for longer are cut somewhere on the way; a backend that needs more answers 202 and replies later.*',
  replyTimeout: 'How long a backend that answered 202 may take until its reply; a missed one is a failed attempt.',
  lease:
    'How long a pull worker has before it must answer, extend or report progress. *Much less and a slow garbage collection loses work; much more and the work of a dead worker lies idle.*',
  'retry.maxAttempts': 'Attempts in all, the first included.',
  'retry.initialDelay':
    'Upper bound of the pause after the first failure; it doubles with each. The pause itself is random below the bound, so that many do not come back at once.',
  'retry.maxDelay': 'The bound never grows beyond this.',
  concurrency: 'Attempts at the backend at the same time. Not for pull services, whose workers set the pace.',
  maxBody: 'Larger request bodies get 413, and a larger answer of the backend is a failed operation. At most 512mb.',
  retention: 'How long an ended operation and its result are kept.',
  key: 'Where the business key of a request stands, by which its result is stored and found: `{ body: "/customerId" }` (a JSON Pointer), `{ query: "customer" }`, `{ header: "X-Customer" }` or `{ path: 1 }` (a segment after the name of the service); or a list of these, whose values together are the key. A single place may have `methods` beside it, of `GET`, `HEAD` and `POST`, for which results are shared; all three otherwise. *None: who shares results has to know what makes two requests the same.*',
  validFor:
    "How long a stored result answers new requests with its key, unless the backend's own `Cache-Control` says otherwise. *None: nobody but you knows how old an answer may be.*",
  staleWhileRevalidate:
    'How long after that it still does, while a new one is computed behind it. *None: an answer that is too old is not given out without being asked for.*',
  poll: 'Whether a backend that answers 202 with the URL of a status is asked there until it is done. *Off: a 202 usually means that the backend will reply.*',
  rate: 'The most requests a namespace may send in a second, a minute or an hour, such as `100/s`, `600/m` or `1000/h`; more get 429 with the time to wait.',
  maxQueued: 'The most operations of a namespace that may wait in the queue; more get 429 `queue-full`.',
  publishTransitions:
    'Whether each change of state of its operations is an event on `operations.{service}.{status}`, in every namespace. *Off: each event costs a row. A subscription to such topics turns it on for its namespace.*',
  priority: '0 to 9, for requests that name none. Each step is a head start of 5 s in the queue, so nothing starves.',
});

function serviceFields() {
  const text = describeConfig(
    resolveConfig({ env: {}, cwd: '/', document: { services: { score: { target: { url: 'http://backend' } } } } }),
  );
  const { services } = parse(text);
  const { target: _, retry, ...flat } = services.score;
  const defaults = new Map(Object.entries(flat));
  for (const [name, value] of Object.entries(retry)) defaults.set(`retry.${name}`, value);
  // What is not set stands there as a comment, in the depth of a service's fields.
  for (const [, name = ''] of text.matchAll(/^ {4}# (\w+): +# not set$/gm)) defaults.set(name, undefined);
  const unexplained = [...defaults.keys()].filter((name) => !(name in serviceWords));
  if (unexplained.length > 0) throw new Error(`serviceWords says nothing about ${unexplained.join(', ')}`);
  const rows = Object.entries(serviceWords).map(([name, words]) => {
    if (name !== 'target' && !defaults.has(name)) throw new Error(`there is no service field ${name} any more`);
    const value = defaults.get(name);
    return [
      code(name),
      name === 'target'
        ? 'required'
        : value === undefined
          ? 'not set'
          : code(Array.isArray(value) ? JSON.stringify(value) : String(value)),
      words,
    ];
  });
  return table(['field', 'default', 'meaning'], rows);
}

function routeList() {
  const access = { key: 'API key', token: 'the token in it', none: 'nobody asks' };
  const rows = Object.values(routes).map((route) => [
    code(`${route.method} ${route.path}`),
    cell(route.summary),
    access[route.access] + ('readableByToken' in route ? ' or `?token=`' : ''),
    'query' in route
      ? route.query
          .filter((one) => !('built' in one))
          .map(({ name }) => code(name))
          .join(' ')
      : '',
  ]);
  return table(['route', 'what it does', 'credential', 'query'], rows);
}

/** @param {'request' | 'backend'} direction */
function headers(direction) {
  const rows = headerTable
    .filter((header) => header.direction === direction && header.built)
    .map(({ name, summary }) => [code(name), cell(summary)]);
  return table(['header', 'meaning'], rows);
}

function problems() {
  const rows = Object.entries(errorTable).map(([name, { status, title, retry, help }]) => [
    String(status),
    code(name),
    `${cell(title)}. ${cell(help)}`,
    retry ? 'yes' : '',
  ]);
  return table(
    ['status', 'code', 'meaning, and what to do', 'may a repeat help?'],
    rows.toSorted(([a = '', x = ''], [b = '', y = '']) => a.localeCompare(b) || x.localeCompare(y)),
  );
}

const notBuilt = () => {
  const unbuilt = headerTable.filter(({ built }) => !built).map(({ name }) => code(name));
  return [
    ...(unbuilt.length > 0 ? [`Request headers: ${unbuilt.join(', ')}.`] : []),
    `Routes: ${unbuiltRoutes.map(code).join(', ')}.`,
  ].join('\n\n');
};

/** Text of each region, by the name that stands in the page: `<!-- generated: options -->` to `<!-- end -->`. */
const regions = /** @type {Record<string, () => string>} */ ({
  options,
  'service fields': serviceFields,
  routes: routeList,
  'request headers': () => headers('request'),
  'backend headers': () => headers('backend'),
  problems,
  'not built': notBuilt,
});

const pages = ['configuration.md', 'http-api.md'];
const region = /(<!-- generated: ([a-z ]+) -->\n)[^]*?(<!-- end -->)/g;

/** @returns {{ path: string, text: string, isStale: boolean }[]} every page with its tables as they should be */
export function generatedPages() {
  return pages.map((page) => {
    const path = join(docs, page);
    const before = readFileSync(path, 'utf8');
    const text = before.replace(region, (_, begin, name, end) => {
      const make = regions[name];
      if (make === undefined)
        throw new Error(`${page} asks for "${name}"; there are ${Object.keys(regions).join(', ')}`);
      return `${begin}${make()}\n${end}`;
    });
    return { path, text, isStale: text !== before };
  });
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const { path, text, isStale } of generatedPages()) if (isStale) writeFileSync(path, text);
}
