// Addresses of PostgreSQL: what each part becomes, what the driver makes of it, and every refusal, which never quotes a password.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { WrongValue } from './config-error.ts';
import {
  driverAddress,
  formatPostgresAddress,
  isPostgresAddress,
  parsePostgresAddress,
  type PostgresAddress,
} from './postgres-address.ts';

/** What the driver itself reads out of an address. */
const driver = createRequire(createRequire(import.meta.url).resolve('pg'))('pg-connection-string') as (
  text: string,
) => Record<string, unknown>;

const refusal = (text: string): string => {
  try {
    parsePostgresAddress(text);
  } catch (error) {
    assert.ok(error instanceof WrongValue, String(error));
    return error.message;
  }
  return assert.fail(`accepted: ${text}`);
};

const plain = {
  user: 'u',
  password: undefined,
  host: 'db',
  port: 5432,
  database: 'app',
  schema: 'waitless',
  parameters: {},
};

describe('every part of an address', () => {
  const cases: [text: string, different: Partial<PostgresAddress>][] = [
    ['postgres://u@db/app', {}],
    ['postgresql://u@db/app', {}],
    ['POSTGRES://u@db/app', {}],
    ['postgres://u:@db/app', {}],
    ['postgres://u@db/app?', {}],
    ['postgres://db/app', { user: undefined }],
    ['postgres://u:p@db/app', { password: 'p' }],
    ['postgres://u:p:q@db/app', { password: 'p:q' }],
    ['postgres://u:p@q@db/app', { password: 'p@q' }],
    ['postgres://u%40x:%2F%3F%23%40%25%20%C3%A4@db/app', { user: 'u@x', password: '/?#@% ä' }],
    ['postgres://u@db:6543/app', { port: 6543 }],
    ['postgres://u@db:1/app', { port: 1 }],
    ['postgres://u@db:65535/app', { port: 65535 }],
    ['postgres://u@my_db-1.example.com/app', { host: 'my_db-1.example.com' }],
    ['postgres://u@10.0.0.7/app', { host: '10.0.0.7' }],
    ['postgres://u@[fd00::7]:6543/app', { host: 'fd00::7', port: 6543 }],
    ['postgres://u@%2Fvar%2Frun%2Fpostgresql/app', { host: '/var/run/postgresql' }],
    ['postgres://u@db/my%20app%25', { database: 'my app%' }],
    ['postgres://u@db/app?schema=_jobs2', { schema: '_jobs2' }],
    [`postgres://u@db/app?schema=${'s'.repeat(48)}`, { schema: 's'.repeat(48) }],
    ['postgres://u@db/app?application_name=a+b%26c', { parameters: { application_name: 'a b&c' } }],
    ...(['disable', 'no-verify', 'require', 'verify-full'] as const).map(
      (sslmode): [string, Partial<PostgresAddress>] => [
        `postgres://u@db/app?sslmode=${sslmode}`,
        { parameters: { sslmode } },
      ],
    ),
    [
      'postgres://u@db/app?sslmode=verify-ca&sslrootcert=/a%20b/ca.pem&schema=jobs',
      { schema: 'jobs', parameters: { sslmode: 'verify-ca', sslrootcert: '/a b/ca.pem' } },
    ],
    [
      'postgres://u@db/app?sslcert=/c.pem&sslkey=/k.pem',
      { parameters: { sslmode: 'verify-full', sslcert: '/c.pem', sslkey: '/k.pem' } },
    ],
  ];
  for (const [text, different] of cases) {
    test(text, () => {
      const address = parsePostgresAddress(text);
      assert.deepEqual(address, { ...plain, ...different });
      assert.deepEqual(parsePostgresAddress(formatPostgresAddress(address)), address, 'written out, it is the same');
      if (Object.keys(address.parameters).some((name) => name.endsWith('cert'))) return;
      const read = driver(driverAddress(address));
      assert.deepEqual(
        [read['user'], read['password'], read['host'], read['port'], read['database'], read['application_name']],
        [
          address.user ?? '',
          address.password ?? '',
          address.host,
          String(address.port),
          address.database,
          address.parameters.application_name,
        ],
        'the driver reads the same',
      );
    });
  }

  test('sslmode means to the driver what it means to everyone', () => {
    const ssl = (mode: string): unknown =>
      driver(driverAddress(parsePostgresAddress(`postgres://db/app?sslmode=${mode}`)))['ssl'];
    assert.equal(ssl('disable'), false);
    assert.deepEqual(ssl('require'), { rejectUnauthorized: false });
    assert.deepEqual(ssl('no-verify'), { rejectUnauthorized: false });
    assert.deepEqual(ssl('verify-full'), {});
  });

  test('only the two schemes are addresses', () => {
    for (const text of ['postgres://x', 'postgresql:x', 'PostgreSQL://']) assert.ok(isPostgresAddress(text), text);
    for (const text of ['postgress://x', './postgres:', 'psql://x', 'postgres', 'postgres/x'])
      assert.ok(!isPostgresAddress(text), text);
  });
});

describe('refusals of an address', () => {
  const cases: [text: string, message: RegExp][] = [
    ['postgres:', /^it takes postgres:\/\/user:password@host:5432\/database\?schema=waitless$/],
    ['postgres:u:hunter2@db/app', /^it takes postgres:\/\/user:/],
    ['postgres:/u:hunter2@db/app', /^it takes postgres:\/\/user:/],
    ['postgres://', /^the host is missing/],
    ['postgres:///app', /^the host is missing/],
    ['postgres://u:hunter2@/app', /^the host is missing/],
    ['postgres://u:hunter2@:5432/app', /^the host is missing/],
    ['postgres://:hunter2@db/app', /^the user before "@" is missing/],
    ['postgres://@db/app', /^the user before "@" is missing/],
    ['postgres://u:hunter2@db', /^the name of the database is missing/],
    ['postgres://u:hunter2@db/', /^the name of the database is missing/],
    ['postgres://u:hunter2@db?schema=a', /^the name of the database is missing/],
    ['postgres://u:hunter2@db/a/b', /^the path takes the name of one database/],
    ['postgres://u:hunter2@db/a/', /^the path takes the name of one database/],
    ['postgres://u:hunter2@db/..', /^the path takes the name of one database/],
    [`postgres://u:hunter2@db/${'d'.repeat(64)}`, /^the path takes the name of one database, of at most 63 bytes/],
    // Words behind a colon may be a password whose host was forgotten.
    ['postgres://u:hunter2/app', /^the port takes a whole number from 1 to 65535$/],
    ['postgres://u:hunter2@db:0/app', /^the port takes/],
    ['postgres://u:hunter2@db:65536/app', /^the port takes/],
    ['postgres://u:hunter2@db:-1/app', /^the port takes/],
    ['postgres://u:hunter2@db:/app', /^the port takes/],
    ['postgres://u:hunter2@db:5432:1/app', /^the port takes/],
    ['postgres://u:hunter2@db:1e3/app', /^the port takes/],
    ['postgres://u:hunter2@a,b/app', /^the host takes one name or address/],
    ['postgres://u:hunter2@a:5432,b:5432/app', /^the port takes/],
    ['postgres://u:hunter2@-db/app', /^the host takes one/],
    ['postgres://u:hunter2@10.0.0/app', /^the host takes one/],
    ['postgres://u:hunter2@fd00::7/app', /^the (?:host|port) takes/],
    ['postgres://u:hunter2@[10.0.0.7]/app', /^the host takes one/],
    ['postgres://u:hunter2@[fe80::1%25eth0]/app', /^the host takes one/],
    ['postgres://u:hunter2@[fd00::7/app', /^the host takes one/],
    ['postgres://u:hunt/er2@db/app', /percent-encoded: %2F stands for/],
    ['postgres://u:hunt?er2@db/app', /percent-encoded/],
    ['postgres://u:12/app?hunter2&x@db/app', /percent-encoded/],
    ['postgres://u:hunt#er2@db/app', /percent-encoded/],
    ['postgres://u:hunt er2@db/app', /percent-encoded/],
    ['postgres://u:hunt\\er2@db/app', /percent-encoded/],
    ['postgres://u:hunter2@db/app#jobs', /percent-encoded/],
    ['postgres://u:hunter2%zz@db/app', /%25 for the character itself/],
    ['postgres://u:hunter2%ff@db/app', /%25 for the character itself/],
    ['postgres://u:hunter2%00@db/app', /control characters/],
    ['postgres://u:hunter2@db/app%0a', /control characters/],
    ['postgres://u:hunter2@db/app?shema=a', /^there is no parameter "shema"; did you mean "schema"\?$/],
    ['postgres://u:hunter2@db/app?sslMode=disable', /^there is no parameter "sslMode"; did you mean "sslmode"\?$/],
    ['postgres://db/app?user=u&password=hunter2', /^there is no parameter "user"; it takes schema, sslmode, /],
    ['postgres://db/app?password=hunter2', /^there is no parameter "password"; it takes schema, /],
    ['postgres://u:hunter2@db/app?host=other', /^there is no parameter "host"; it takes/],
    ['postgres://u:hunter2@db/app?pgbouncer=true', /^there is no parameter "pgbouncer"/],
    ['postgres://u:hunter2@db/app?options=-c%20fsync', /^there is no parameter "options"/],
    ['postgres://u:hunter2@db/app?__proto__=x', /^there is no parameter "__proto__"/],
    ['postgres://u:hunter2@db/app?toString=x', /^there is no parameter "toString"/],
    ['postgres://u:hunter2@db/app?schema=a&schema=b', /^the parameter "schema" stands there twice; keep one$/],
    ['postgres://u:hunter2@db/app?schema=a&sch%65ma=a', /^the parameter "schema" stands there twice/],
    ['postgres://u:hunter2@db/app?sslmode=disable&sslmode=require', /^the parameter "sslmode" stands there twice/],
    ['postgres://u:hunter2@db/app?schema=', /^the parameter "schema" has no value/],
    ['postgres://u:hunter2@db/app?schema', /^the parameter "schema" has no value/],
    ['postgres://u:hunter2@db/app?schema=Jobs', /^the schema "Jobs" does not fit; .*48 characters at most$/],
    ['postgres://u:hunter2@db/app?schema=1jobs', /^the schema "1jobs" does not fit/],
    ['postgres://u:hunter2@db/app?schema=a-b', /^the schema "a-b" does not fit/],
    ['postgres://u:hunter2@db/app?schema=a%22%3Bdrop', /^the schema "a\\";drop" does not fit/],
    ['postgres://u:hunter2@db/app?schema=a%0Ab', /control characters/],
    [`postgres://u:hunter2@db/app?schema=${'s'.repeat(49)}`, /does not fit/],
    ['postgres://u:hunter2@db/app?schema=pg_jobs', /^the schema "pg_jobs" is PostgreSQL's own/],
    ['postgres://u:hunter2@db/app?schema=information_schema', /^the schema "information_schema" is PostgreSQL's own/],
    ['postgres://u:hunter2@db/app?sslmode=on', /^sslmode: "on" does not fit; it takes disable, no-verify, require, /],
    ['postgres://u:hunter2@db/app?sslmode=prefer', /^sslmode=prefer may go unencrypted/],
    ['postgres://u:hunter2@db/app?sslmode=allow', /^sslmode=allow may go unencrypted/],
    ['postgres://u:hunter2@db/app?sslmode=verify-ca', /^sslmode=verify-ca needs sslrootcert/],
    ['postgres://u:hunter2@db/app?sslcert=a', /^sslcert and sslkey belong together/],
    ['postgres://u:hunter2@db/app?sslkey=a&sslmode=require', /^sslcert and sslkey belong together/],
    ['postgres://u:hunter2@db/app?sslmode=disable&sslrootcert=a', /^sslrootcert has no use with sslmode=disable/],
  ];
  for (const [text, message] of cases) {
    test(text, () => {
      const said = refusal(text);
      assert.match(said, message);
      assert.doesNotMatch(said, /hunt|er2|\n/);
    });
  }
});
