// A server under attack, and the three questions every attack ends with: was anything kept, is anything held, does it still work?
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { exchange, RawConnection, type RawResponse, type RequestParts } from './raw-http.ts';
import { type ServerSettings, serverFor, type TestServer } from './server.ts';

export interface Victim {
  readonly server: TestServer;
  readonly port: number;
  open(): Promise<RawConnection>;
  /** One request on a connection of its own. */
  ask(parts: RequestParts): Promise<RawResponse>;
  /** `ask` with an API key. */
  askAs(namespace: string, parts: RequestParts): Promise<RawResponse>;
  /** Runs an attack; afterwards nothing may have been kept and a good request must still be served. */
  untouchedBy(attack: () => Promise<void>): Promise<void>;
}

/** Receives the good requests that are sent after each attack. */
const bystander = 'bystander';

/** Runs `attacks` against a server of its own; at the end it must hold no body, no waiter, and have logged no error. */
export async function underAttack(
  t: TestContext,
  settings: ServerSettings,
  attacks: (victim: Victim) => Promise<void>,
): Promise<void> {
  const errors: unknown[] = [];
  const server = await serverFor(t, {
    ...settings,
    services: { ...settings.services, [bystander]: { target: { pull: true } } },
    extras: {
      ...settings.extras,
      log: {
        debug: undefined,
        info: undefined,
        warn() {},
        error: (event, fields) => errors.push({ event, ...fields }),
      },
    },
  });
  const port = Number(new URL(server.url).port);
  const namespaces = settings.namespaces ?? [];
  const keyed = (namespace: string | undefined, parts: RequestParts): RequestParts =>
    namespace === undefined
      ? parts
      : { ...parts, headers: [['Authorization', `Bearer ${server.key(namespace)}`], ...(parts.headers ?? [])] };

  async function operations(): Promise<string[]> {
    const found: string[] = [];
    for (const namespace of namespaces.length > 0 ? namespaces : [undefined]) {
      const answer = await exchange(port, keyed(namespace, { path: '/v1/operations?limit=1000' }));
      assert.equal(answer.status, 200, answer.text);
      const { items } = answer.json<{ items: { id: string; service: string; version: number }[] }>();
      for (const { id, service, version } of items) if (service !== bystander) found.push(`${id} ${version}`);
    }
    return found;
  }

  async function stillWorks(): Promise<void> {
    const accepted = await exchange(
      port,
      keyed(namespaces[0], { method: 'POST', path: `/v1/call/${bystander}`, body: 'still there?' }),
    );
    assert.equal(accepted.status, 202, `a good request is accepted: ${accepted.text}`);
    const id = accepted.header('operation-id')!;
    const status = await exchange(port, keyed(namespaces[0], { path: `/v1/operations/${id}` }));
    assert.equal(status.json<{ status: string }>().status, 'queued');
  }

  await attacks({
    server,
    port,
    open: async () => {
      const connection = await RawConnection.open(port);
      t.after(() => connection.destroy());
      return connection;
    },
    ask: (parts) => exchange(port, parts),
    askAs: (namespace, parts) => exchange(port, keyed(namespace, parts)),
    async untouchedBy(attack) {
      const before = await operations();
      await attack();
      assert.deepEqual(await operations(), before, 'nothing was stored, nothing was changed');
      await stillWorks();
    },
  });

  for (;;) {
    const { text } = await exchange(port, keyed(namespaces[0], { path: '/metrics' }));
    const value = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
    // A connection that was just cut gives back what it held a moment later; the runner's limit ends a wait in vain.
    if (value('waitless_body_bytes') === 0 && value('waitless_waiters') === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.deepEqual(errors, [], 'no attack reached an error nobody had thought of');
  assert.equal(({} as { x?: unknown }).x, undefined, 'no prototype was touched');
}

/** The answer is this problem (RFC 9457), whole and without a word about the inside of the server. */
export function assertProblem(answer: RawResponse | null, status: number, code: string): void {
  assert.ok(answer, 'there is an answer');
  assert.equal(
    `${answer.status} ${answer.text.includes(`"code":"${code}"`) ? code : answer.text}`,
    `${status} ${code}`,
  );
  assert.equal(answer.header('content-type'), 'application/problem+json');
  const problem = answer.json<Record<string, unknown>>();
  assert.equal(problem['status'], status);
  assert.equal(problem['code'], code);
  assert.match(String(problem['type']), new RegExp(`/problems/${code}$`));
  assert.ok(typeof problem['title'] === 'string' && problem['title'] !== '');
  assert.ok(typeof problem['instance'] === 'string' && problem['instance'] === answer.header('request-id'));
  assert.doesNotMatch(
    answer.text,
    /<\w|node_modules|\.ts:\d|\.js:\d|\bSELECT\b|SQLITE/,
    'nothing of the inside is shown',
  );
  if (status === 401) assert.match(answer.header('www-authenticate') ?? '', /^Bearer/);
  if (status === 405) assert.ok(answer.header('allow'));
  if (status === 429 || status === 503) assert.match(answer.header('retry-after') ?? '', /^[1-9]\d*$/);
}

/** The same connection serves the next request. */
export async function assertUsable(connection: RawConnection): Promise<void> {
  const answer = await connection.send('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n').response();
  assert.equal(answer?.status, 200, 'the connection is still usable');
}

/** The server closes the connection and sends nothing more: what was smuggled behind the request is not answered. */
export async function assertClosed(connection: RawConnection): Promise<void> {
  assert.equal((await connection.closed()).toString('latin1'), '', 'nothing more is sent');
  connection.destroy();
}
