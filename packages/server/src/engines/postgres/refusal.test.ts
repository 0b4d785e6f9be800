// Each reason why a database cannot be used has its sentence: which, what is wrong, and what to do.
import assert from 'node:assert/strict';
import { userInfo } from 'node:os';
import { test } from 'node:test';
import { WaitlessError } from '@waitless/protocol';
import { StoreRefused } from '../../engine/refused.ts';
import { readAddress } from './address.ts';
import { refusal, type Stage } from './refusal.ts';
import { NoAnswer } from './session.ts';

const address = readAddress('postgres://app:ossifrage@db.example.com:6543/jobs?schema=one&application_name=mine');
const failed = (message: string, code?: string): Error =>
  Object.assign(new Error(message), code === undefined ? {} : { code });

test('an address is taken apart without its password', () => {
  const { place, schema, user, database, config } = address;
  assert.deepEqual(
    { place, schema, user, database },
    { place: 'db.example.com:6543/jobs, schema one', schema: 'one', user: 'app', database: 'jobs' },
  );
  assert.equal(config.application_name, 'mine');
  assert.match(String(config.options), /-c search_path=one /);
  assert.doesNotMatch(
    String(config.connectionString),
    /schema=/,
    'the driver would hand it to the server as a setting',
  );
});

test('without a user in the address, in the environment or of the process there is still an address', (t) => {
  const env = { USER: process.env['USER'], PGUSER: process.env['PGUSER'] };
  t.after(() => {
    for (const [name, value] of Object.entries(env)) if (value !== undefined) process.env[name] = value;
  });
  delete process.env['USER'];
  delete process.env['PGUSER'];
  assert.equal(readAddress('postgres://db/jobs').user, userInfo().username);
  process.env['PGUSER'] = 'from-env';
  assert.equal(readAddress('postgres://db/jobs').user, 'from-env');
});

const sentences: [error: Error, stage: Stage, sentence: RegExp][] = [
  [failed('', 'ECONNREFUSED'), 'connecting', /^no PostgreSQL answers at .*\(connection refused\); start it/],
  [failed('', 'ENOENT'), 'connecting', /^no PostgreSQL answers at .*no such socket\); start it/],
  [failed('', 'ENOTFOUND'), 'connecting', /^the host of .* is not known \(ENOTFOUND\); mend the address/],
  [failed('', 'EAI_AGAIN'), 'connecting', /^the host of .* is not known \(EAI_AGAIN\); mend/],
  [
    failed('', 'EHOSTUNREACH'),
    'connecting',
    /cannot be reached \(EHOSTUNREACH\); mend the address in --data, or the network/,
  ],
  [failed('', 'ETIMEDOUT'), 'connecting', /cannot be reached \(ETIMEDOUT\); mend/],
  [failed('timeout expired'), 'connecting', /^nothing answers at .*\(timeout expired\); mend/],
  [new NoAnswer('no answer within 5 s'), 'preparing', /^nothing answers at .*\(no answer within 5 s\); mend/],
  [
    failed('no pg_hba.conf entry', '28000'),
    'connecting',
    /does not let user "app" in \(no pg_hba\.conf entry\); mend user/,
  ],
  [failed('failed', '28P01'), 'connecting', /does not let user "app" in \(failed\); mend user or password/],
  [failed('none', '3D000'), 'connecting', /^there is no database "jobs" at .*; create it \(createdb jobs\)/],
  [
    failed('must be owner of table operation', '42501'),
    'preparing',
    /may not do what is needed .*; start once as the owner of schema one/,
  ],
  [failed('too many clients', '53300'), 'connecting', /no connection left \(too many clients\); raise max_connections/],
  [failed('starting up', '57P03'), 'connecting', /takes no connections yet \(starting up\); try again/],
  [failed('lock timeout', '55P03'), 'preparing', /holds the schema .* locked \(lock timeout\); see pg_stat_activity/],
  [
    failed('unsupported startup parameter: options', '08P01'),
    'connecting',
    /; give the address of PostgreSQL itself, not of a pooler/,
  ],
  [
    failed('SASL: client password must be a string'),
    'connecting',
    /asks for a password of user "app" and none is given; set PGPASSWORD/,
  ],
  [failed('Connection terminated unexpectedly'), 'connecting', /may not be PostgreSQL; mend the address/],
  [
    failed('Connection terminated unexpectedly'),
    'preparing',
    /went away while the store was opened .*; nothing half-made is left, start again/,
  ],
  [failed('shutting down', '57P01'), 'preparing', /went away while the store was opened \(shutting down\); /],
  [failed('received invalid response: 48'), 'connecting', /is not PostgreSQL \(received invalid response: 48\); mend/],
  [
    failed('type "queue" already exists', '42710'),
    'preparing',
    /cannot be used \(type "queue" already exists, 42710\); mend/,
  ],
];

test('each error has its sentence, and a store that was refused keeps its own', () => {
  for (const [error, stage, sentence] of sentences) {
    const refused = refusal(error, address, stage);
    assert.ok(refused instanceof StoreRefused);
    assert.match(refused.message, sentence);
    assert.ok(refused.message.includes('db.example.com:6543/jobs, schema one'), refused.message);
    assert.doesNotMatch(refused.message, /ossifrage|\n/);
    assert.equal(refused.cause, error);
  }
  const own = new StoreRefused('because');
  assert.equal(refusal(own, address, 'preparing'), own);
  const wrapped = new WaitlessError('engine-unavailable', undefined, { cause: failed('too many clients', '53300') });
  assert.match(refusal(wrapped, address, 'preparing').message, /no connection left \(too many clients\)/);
});
