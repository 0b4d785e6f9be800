// A server started on an address where no database can be had: it says which and what to do, ends with 78, and never waits for ever.
import assert from 'node:assert/strict';
import dns from 'node:dns';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { describe, test, type TestContext } from 'node:test';
import { cleanUp } from '../support/cleanup.ts';
import { freePort } from '../support/free-port.ts';
import { postgresMissing } from '../support/postgres.ts';
import { messageCutter } from '../support/postgres-wire.ts';
import { tcpProxy } from '../support/tcp-proxy.ts';
import { commandRefuses, loginFor, marker, opens, refused, relationsOf } from './postgres-start.ts';

const missing = postgresMissing();
const addressOf = (port: number, host = '127.0.0.1'): string => `postgres://app:${marker}@${host}:${port}/jobs`;

async function listening(t: TestContext, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp(t, () => server.close());
  return (server.address() as AddressInfo).port;
}

/** A server that does this with each connection. */
const serverOf = (t: TestContext, take: (socket: Socket) => void): Promise<number> =>
  listening(
    t,
    createServer((socket) => {
      cleanUp(t, () => socket.destroy());
      take(socket.on('error', () => {}));
    }),
  );

describe('a start where nobody answers as PostgreSQL', { concurrency: 4 }, () => {
  test('nobody listens', async (t) => {
    const url = addressOf(await freePort());
    await refused(url, /^no PostgreSQL answers at 127\.0\.0\.1:\d+\/jobs, schema waitless \(connection refused\)/);
    await commandRefuses(t, url, /no PostgreSQL answers at .*connection refused/);
    await refused(`postgres://app@%2Fnowhere%2Fat%2Fall/jobs`, /^no PostgreSQL answers at \/nowhere\/at\/all:5432/);
  });

  test('the name of the host is not known', async (t) => {
    const lookup = dns.lookup as (name: string, ...rest: unknown[]) => void;
    const unknown: Readonly<Record<string, string>> = { 'db.invalid': 'ENOTFOUND', 'later.invalid': 'EAI_AGAIN' };
    t.mock.method(dns, 'lookup', ((name: string, ...rest: unknown[]) => {
      const code = unknown[name];
      if (code === undefined) return lookup(name, ...rest);
      const done = rest.at(-1) as (error: Error) => void;
      process.nextTick(done, Object.assign(new Error(`getaddrinfo ${code} ${name}`), { code }));
    }) as unknown as typeof dns.lookup);
    for (const [name, code] of Object.entries(unknown))
      await refused(
        addressOf(5432, name),
        new RegExp(`^the host of ${name}:5432/jobs, schema waitless is not known \\(${code}\\)`),
      );
  });

  test('the port takes connections and never answers', async (t) => {
    const proxy = await tcpProxy(t, { to: await freePort() });
    await proxy.set('black-hole');
    const url = addressOf(proxy.port);
    await Promise.all([
      refused(url, /^nothing answers at 127\.0\.0\.1:\d+\/jobs/),
      commandRefuses(t, url, /nothing answers at 127\.0\.0\.1:\d+\/jobs/),
    ]);
  });

  test('something else listens there', async (t) => {
    const http = createHttpServer((_, response) => response.end('<h1>not found</h1>'));
    const url = addressOf(await listening(t, http));
    await refused(url, /^what answers at 127\.0\.0\.1:\d+\/jobs.* may not be PostgreSQL/);
    await commandRefuses(t, url, /may not be PostgreSQL/);
    const zeros = await serverOf(t, (socket) => socket.write(Buffer.alloc(64)));
    await refused(addressOf(zeros), /^what answers at .* is not PostgreSQL/);
    const banner = await serverOf(t, (socket) => socket.write('SSH-2.0-OpenSSH_9.6\r\n'));
    await refused(addressOf(banner), /^nothing answers at /);
    const hangsUp = await serverOf(t, (socket) => socket.end());
    await refused(addressOf(hangsUp), /may not be PostgreSQL/);
    const resets = await serverOf(t, (socket) => socket.resetAndDestroy());
    await refused(addressOf(resets), /may not be PostgreSQL/);
  });

  test('a pooler that knows no options of sessions', async (t) => {
    const port = await serverOf(t, (socket) =>
      socket.once('data', () => socket.end(errorResponse('08P01', 'unsupported startup parameter: options'))),
    );
    await refused(addressOf(port), /unsupported startup parameter: options\); give the address of PostgreSQL itself/);
  });
});

/** As the server sends it: https://www.postgresql.org/docs/current/protocol-error-fields.html */
function errorResponse(code: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`);
  const head = Buffer.alloc(5, 'E');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}

describe(
  'a start on a database that is hard to reach',
  { skip: missing && `skipped: ${missing}`, concurrency: 4 },
  () => {
    test('one that is still starting is waited for', async (t) => {
      const login = await loginFor(t, ['ALTER ROLE $user SUPERUSER']);
      const { port } = new URL(login.admin);
      let connections = 0;
      const starting = await serverOf(t, (socket) => {
        if (++connections <= 2)
          return void socket.once('data', () =>
            socket.end(errorResponse('57P03', 'the database system is starting up')),
          );
        const target = connect(Number(port), '127.0.0.1').on('error', () => socket.destroy());
        socket.pipe(target).pipe(socket);
      });
      await opens(login.url({ host: `127.0.0.1:${starting}` }));
      assert.ok(connections > 2);
    });

    for (const text of ["current_setting('fsync')", 'CREATE SCHEMA', 'INSERT INTO meta']) {
      test(`one that falls silent at ${text} is given up, and nothing half-made stays`, async (t) => {
        const login = await loginFor(t, ['ALTER ROLE $user SUPERUSER']);
        const cutter = messageCutter();
        const proxy = await tcpProxy(t, { to: Number(new URL(login.admin).port), inspect: cutter.inspect });
        const cut = cutter.cutAfter({ matches: ({ body }) => body.includes(text), ending: 'silence' });
        await refused(
          login.url({ host: `127.0.0.1:${proxy.port}` }),
          /^nothing answers at .* \(no answer within \d+ s\)/,
        );
        await cut;
        assert.equal(await relationsOf(login.admin, login.schema), undefined);
        // The next start waits for what the server holds of this one: until the connection ends, or its own limit for an idle transaction.
        proxy.reset();
        await opens(login.url());
      });
    }
  },
);
