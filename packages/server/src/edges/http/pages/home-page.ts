// The page at /: which services there are, what ran last, and the next command to type. Static, without script.
import { type Operation, operationStatuses, routePath, type ServiceSummary } from '@waitless/protocol';
import { html, type Html } from './html.ts';
import { page } from './page.ts';
import { age, lasting, shellWord, stateInWords } from './words.ts';

export interface HomePage {
  /** Base URL of the server as its clients call it. */
  readonly url: string;
  readonly version: string;
  readonly services: readonly ServiceSummary[];
  /** The last ones, newest first; at most 20 are shown. */
  readonly operations: readonly Operation[];
  /** Wall clock, milliseconds since 1970. */
  readonly nowMs: number;
  /** Whether the server asks for API keys. The page itself needs none, so then it shows neither services nor operations. */
  readonly keyRequired?: boolean;
}

const shownOperations = 20;

/** The whole page as HTML. */
export function homePage({ url, version, services, operations, nowMs, keyRequired = false }: HomePage): string {
  const base = url.replace(/\/+$/, '');
  const shown = operations.slice(0, shownOperations);
  const body = html`<header>
      <h1>Waitless</h1>
      <p class="quiet">Version ${version} at <code>${base}</code>. Reload the page to see what has changed.</p>
    </header>
    <main>
      ${keyRequired ? lockedSections(base) : [nextSection(base, services, shown), servicesSection(services), operationsSection({ operations: shown, nowMs, hasServices: services.length > 0 })]}
    </main>
    <footer>
      <nav aria-label="More">
        ${keyRequired ? undefined : html`<a href=".${routePath('listServices')}">All services (JSON)</a> <a href=".${routePath('listOperations')}">All operations (JSON)</a> <a href=".${routePath('metrics')}">Metrics</a>`}
        <a href=".${routePath('openapi')}">OpenAPI document</a>
        <a href=".${routePath('asyncapi')}">AsyncAPI document</a> <a href=".${routePath('readyz')}">Readiness</a>
      </nav>
    </footer>`;
  return page({ title: 'Waitless', root: './', body });
}

const command = (text: string): Html => html`<pre tabindex="0"><code>${text}</code></pre>`;

const steps = (items: readonly (readonly [what: string, text: string])[]): Html =>
  html`<ol class="steps">
    ${items.map(([what, text]) => html`<li>${what}${command(text)}</li>`)}
  </ol>`;

/** What to type next, which depends on how far one has come. */
function nextSection(base: string, services: readonly ServiceSummary[], operations: readonly Operation[]): Html {
  const service = services[0];
  const last = operations[0];
  if (service === undefined) {
    return html`<h2>Next</h2>
      ${steps([['There is no service yet. Stop the server and start it with your slow API as one:', 'npx waitless serve --target score=http://127.0.0.1:9001']])}`;
  }
  const call = `${base}${routePath('call', { service: service.name })}`;
  const submit = [
    `Send a request to ${service.name}; the answer is an operation id, at once:`,
    `curl -i ${shellWord(call)} -H 'Content-Type: application/json' -d '{"customerId": 42}'`,
  ] as const;
  const work = [
    'Take a piece of its work, as a worker does:',
    `curl ${shellWord(`${base}${routePath('lease', { service: service.name })}`)} -H 'Content-Type: application/json' -d '{"worker": "me", "waitSeconds": 30}'`,
  ] as const;
  if (last === undefined)
    return html`<h2>Next</h2>
      ${steps(service.target === 'pull' ? [submit, work] : [submit])}`;
  const result = `${base}${routePath('getResult', { id: last.id })}`;
  return html`<h2>Next</h2>
    ${steps([[last.done ? 'Fetch the newest result:' : 'Wait for the newest result:', `curl -i ${shellWord(result)}${last.done ? '' : " -H 'Prefer: wait=30'"}`], submit])}`;
}

function servicesSection(services: readonly ServiceSummary[]): Html {
  if (services.length === 0) {
    return html`<h2>Services</h2>
      <div class="panel empty">
        <p>
          None. A service comes from <code>--target NAME=URL</code>, <code>--pull NAME</code>, a config file or
          <code>PUT /v1/services/NAME</code>.
        </p>
      </div>`;
  }
  const rows = services.map(
    ({ name, target, mode, source, counts, recent }) =>
      html`<tr>
        <td data-label="Name">
          <span>${name}${source === 'api' ? html`<span class="note">made over the API</span>` : undefined}</span>
        </td>
        <td data-label="Answered by">
          ${target === 'pull' ? 'pull workers' : 'its backend'}${mode === 'sync' ? ', callers wait' : undefined}
        </td>
        ${operationStatuses.map((status) => html`<td class="number" data-label="${columns[status]}">${counts[status].toLocaleString('en')}</td>`)}
        <td class="number" data-label="Usually takes">${recent.p50Ms === null ? '–' : lasting(recent.p50Ms)}</td>
      </tr>`,
  );
  return html`<h2>Services</h2>
    <div class="panel">
      <table>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Answered by</th>
            ${operationStatuses.map((status) => html`<th scope="col" class="number">${columns[status]}</th>`)}
            <th scope="col" class="number">Usually takes</th>
          </tr>
        </thead>
        <tbody>
          ${rows}
        </tbody>
      </table>
    </div>`;
}

const columns = {
  queued: 'Waiting',
  running: 'Running',
  succeeded: 'Done',
  failed: 'Failed',
  cancelled: 'Cancelled',
} as const;

interface LastOperations {
  readonly operations: readonly Operation[];
  readonly nowMs: number;
  readonly hasServices: boolean;
}

function operationsSection({ operations, nowMs, hasServices }: LastOperations): Html {
  const title = html`<h2>Last operations</h2>`;
  if (operations.length === 0)
    return html`${title}
      <div class="panel empty">
        <p>None yet.${hasServices ? ' The command above makes the first one.' : undefined}</p>
      </div>`;
  const rows = operations.map((operation) => {
    const { id, service, status, createdAt, correlationId } = operation;
    const { state, note } = stateInWords(operation, nowMs);
    return html`<tr>
      <td data-label="Operation">
        <span class="id">${id}</span
        >${correlationId === id ? undefined : html`<span class="note">conversation ${correlationId}</span>`}
      </td>
      <td data-label="Service">${service}</td>
      <td data-label="State">
        <span
          ><span class="state ${status}">${state}</span
          >${note === undefined ? undefined : html`<span class="note">${note}</span>`}</span
        >
      </td>
      <td class="age" data-label="Received">
        <time datetime="${createdAt}" title="${createdAt}">${age(createdAt, nowMs)}</time>
      </td>
      <td class="links" data-label="Open">
        <span
          ><a href=".${routePath('getOperation', { id })}">status</a>
          <a href=".${routePath('getResult', { id })}">result</a>
          <a href=".${routePath('getTimeline', { id })}">timeline</a></span
        >
      </td>
    </tr>`;
  });
  return html`${title}
    <div class="panel">
      <table>
        <thead>
          <tr>
            <th scope="col">Operation</th>
            <th scope="col">Service</th>
            <th scope="col">State</th>
            <th scope="col">Received</th>
            <th scope="col">Open</th>
          </tr>
        </thead>
        <tbody>
          ${rows}
        </tbody>
      </table>
    </div>`;
}

function lockedSections(base: string): Html {
  const header = '-H "Authorization: Bearer $WAITLESS_API_KEY"';
  return html`<h2>Next</h2>
    <p>This server asks for an API key, so services and operations are not shown here.</p>
    ${steps([
      ['List the services:', `curl ${shellWord(`${base}${routePath('listServices')}`)} ${header}`],
      ['List the last operations:', `curl ${shellWord(`${base}${routePath('listOperations')}?limit=20`)} ${header}`],
    ])}`;
}
