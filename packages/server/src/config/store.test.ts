// `data` from every source: which store it names, where its password may stand, and that nothing which is shown holds it.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { inspect } from 'node:util';
import { parse } from 'yaml';
import { type ConfigSources, resolveConfig, type ResolvedConfig } from './config.ts';
import { ConfigError } from './config-error.ts';
import { describeConfig } from './print-config.ts';

let folder = '';
before(() => void (folder = mkdtempSync(join(tmpdir(), 'waitless-store-'))));
after(() => rmSync(folder, { recursive: true, force: true }));

const driver = createRequire(createRequire(import.meta.url).resolve('pg'))('pg-connection-string') as (
  text: string,
) => Record<string, unknown>;
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return name;
};
const resolve = (sources: Partial<ConfigSources> = {}): ResolvedConfig =>
  resolveConfig({ env: {}, cwd: folder, ...sources });
const refusal = (sources: Partial<ConfigSources>): ConfigError => {
  try {
    resolve(sources);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    assert.doesNotMatch(inspect(error, { depth: 9 }), /ossifrage/, 'no password, not even in a property of the error');
    return error;
  }
  return assert.fail('the configuration was accepted');
};
/** What stands behind `data:`. */
const printed = (resolved: ResolvedConfig): unknown => (parse(describeConfig(resolved)) as { data: unknown }).data;

describe('where the address may stand', () => {
  const secret = 'postgres://app:ossifrage@db/jobs';
  const whole = 'postgres://app:ossifrage@db:5432/jobs?schema=waitless';
  const shown = 'postgres://app:***@db:5432/jobs?schema=waitless';

  test('in a flag, which shows a password to every process list and is warned of', () => {
    const resolved = resolve({ options: { data: secret } });
    assert.equal(resolved.config.data, whole);
    assert.match(resolved.warnings[0]!, /process list .*WAITLESS_DATA.*--data-password-file.*PGPASSWORD.*\.pgpass/);
    assert.deepEqual(resolve({ options: { data: 'postgres://app@db/jobs' } }).warnings, []);
  });

  test('in the environment', () => {
    const resolved = resolve({ env: { WAITLESS_DATA: secret } });
    assert.deepEqual([resolved.config.data, resolved.warnings], [whole, []]);
    assert.equal(printed(resolved), shown);
  });

  test('in the file, with a password from the environment', () => {
    file('address.yaml', 'data: postgresql://app:${env:DB_PASSWORD}@db/jobs\n');
    const resolved = resolve({ options: { config: 'address.yaml' }, env: { DB_PASSWORD: 'ossifrage' } });
    assert.deepEqual([resolved.config.data, resolved.warnings], [whole, []]);
    assert.equal(resolved.origins.get('data')?.text, 'address.yaml line 1');
  });

  test('what can be shown says where it is and not the password', () => {
    const resolved = resolve({ env: { WAITLESS_DATA: `${secret}?schema=a&sslmode=require` } });
    assert.deepEqual(resolved.store, {
      kind: 'postgres',
      data: 'postgres://app:***@db:5432/jobs?schema=a&sslmode=require',
      title: 'PostgreSQL db:5432, database jobs, schema a, as app',
    });
    assert.doesNotMatch(describeConfig(resolved), /ossifrage/);
    assert.match(describeConfig(resolved), /^data: postgres:\S+\*\*\*@db:5432\S+ +# environment WAITLESS_DATA$/m);
  });

  for (const [address, title] of [
    ['postgres://[fd00::7]:99/jobs', 'PostgreSQL [fd00::7]:99, database jobs, schema waitless'],
    ['postgres://%2Frun%2Fpg/jobs', 'PostgreSQL socket in /run/pg, port 5432, database jobs, schema waitless'],
  ])
    test(`in words: ${address}`, () => assert.equal(resolve({ options: { data: address! } }).store.title, title));
});

describe('a password in a file of its own', () => {
  const data = 'postgres://app@db/jobs';
  test('is taken without the end of its line, whatever characters it has', () => {
    for (const [text, password] of [
      ['ossifrage', 'ossifrage'],
      ['ossifrage\n', 'ossifrage'],
      ['\uFEFFossifrage\r\n', 'ossifrage'],
      [' /?#@%:ä \n', ' /?#@%:ä '],
    ] as const) {
      const resolved = resolve({ options: { data, dataPasswordFile: file('password', text) } });
      assert.equal(driver(resolved.config.data)['password'], password);
      assert.deepEqual(resolved.warnings, []);
      assert.equal(printed(resolved), 'postgres://app@db:5432/jobs?schema=waitless');
    }
  });

  test('is named by flag, environment or file, and what --print-config shows works as a config file', () => {
    file('password', 'ossifrage\n');
    file('with-password.yaml', `data: ${data}\ndataPasswordFile: password\n`);
    const first = resolve({ options: { config: join(folder, 'with-password.yaml') }, cwd: tmpdir() });
    const whole = 'postgres://app:ossifrage@db:5432/jobs?schema=waitless';
    assert.equal(first.config.data, whole);
    assert.equal(resolve({ env: { WAITLESS_DATA: data, WAITLESS_DATA_PASSWORD_FILE: 'password' } }).config.data, whole);
    assert.equal(resolve({ document: parse(describeConfig(first)) as Record<string, unknown> }).config.data, whole);
  });

  const cases: [title: string, sources: Partial<ConfigSources>, field: string, message: RegExp][] = [
    [
      'one that is not there',
      { options: { data, dataPasswordFile: 'none' } },
      'dataPasswordFile',
      /^--data-password-file: the file none does not exist/,
    ],
    [
      'an empty one',
      { options: { data, dataPasswordFile: 'empty' } },
      'dataPasswordFile',
      /^--data-password-file: empty is empty/,
    ],
    [
      'one of two lines',
      { env: { WAITLESS_DATA: data, WAITLESS_DATA_PASSWORD_FILE: 'two' } },
      'dataPasswordFile',
      /^WAITLESS_DATA_PASSWORD_FILE: two takes the password alone/,
    ],
    [
      'a second password',
      { options: { data: 'postgres://app:ossifrage@db/jobs', dataPasswordFile: 'two' } },
      'dataPasswordFile',
      /has a password as well; keep one/,
    ],
    [
      'no user to whom it belongs',
      { options: { data: 'postgres://db/jobs', dataPasswordFile: 'two' } },
      'dataPasswordFile',
      /needs a user/,
    ],
  ];
  for (const [title, sources, field, message] of cases) {
    test(title, () => {
      file('empty', '\n');
      file('two', 'ossifrage\nossifrage\n');
      const error = refusal(sources);
      assert.equal(error.field, field);
      assert.match(error.message, message);
    });
  }
});

describe('certificates', () => {
  test('are found from the folder that names them, and the driver reads them', () => {
    file('ca.pem', 'the authority');
    file('tls.yaml', 'data: postgres://app@db/jobs?sslmode=verify-ca&sslrootcert=ca.pem\n');
    const { config, store } = resolve({ options: { config: join(folder, 'tls.yaml') }, cwd: tmpdir() });
    const { ca, checkServerIdentity } = driver(config.data)['ssl'] as Record<string, unknown>;
    assert.equal(ca, 'the authority');
    assert.equal(typeof checkServerIdentity, 'function', 'verify-ca does not ask for the name');
    assert.ok(store.data.endsWith(`&sslrootcert=${encodeURIComponent(join(folder, 'ca.pem'))}`), store.data);
    const full = resolve({ options: { data: 'postgres://app@db/jobs?sslrootcert=ca.pem' } });
    assert.deepEqual(driver(full.config.data)['ssl'], { ca: 'the authority' });
    assert.match(full.store.data, /sslmode=verify-full/);
  });

  test('one that cannot be read is told at once', () =>
    assert.match(
      refusal({ env: { WAITLESS_DATA: 'postgres://app:ossifrage@db/jobs?sslmode=verify-full&sslrootcert=none.pem' } })
        .message,
      /^WAITLESS_DATA: the file none\.pem does not exist; check the path$/,
    ));
});

describe('--i-accept-weak-durability', () => {
  const data = 'postgres://app@db/jobs';
  test('is off, and comes from flag, environment and file', () => {
    assert.equal(resolve({ options: { data } }).config.acceptWeakDurability, false);
    for (const sources of [
      { options: { data, iAcceptWeakDurability: true } },
      { options: { data }, env: { WAITLESS_I_ACCEPT_WEAK_DURABILITY: 'true' } },
      { document: { data, iAcceptWeakDurability: true } },
    ]) {
      const { config, warnings } = resolve(sources);
      assert.deepEqual([config.acceptWeakDurability, warnings], [true, []]);
    }
    assert.match(
      refusal({ document: { data, iAcceptWeakDurability: 'yes' } }).message,
      /^iAcceptWeakDurability: "yes" does not fit/,
    );
  });
});

describe('what belongs to PostgreSQL, without PostgreSQL', () => {
  for (const [name, label, value] of [
    ['iAcceptWeakDurability', '--i-accept-weak-durability', true],
    ['dataPasswordFile', '--data-password-file', 'never read'],
  ] as const) {
    test(`${label} is refused where no store is named: the address was forgotten`, () => {
      const error = refusal({ options: { [name]: value } });
      assert.equal(error.field, name);
      assert.ok(error.message.startsWith(`${label}: it belongs to a PostgreSQL store and none is named; add --data`));
      assert.match(refusal({ document: { [name]: value } }).message, new RegExp(`^${name}: it belongs`));
    });
    test(`${label} is warned of where another store is named`, () => {
      for (const data of ['store', ':memory:'])
        assert.deepEqual(resolve({ options: { data, [name]: value } }).warnings, [
          `${label} does nothing here: the store is not PostgreSQL.`,
        ]);
    });
  }
  test('switched off it needs no address', () =>
    assert.deepEqual(resolve({ options: { iAcceptWeakDurability: false } }).warnings, []));
});

describe('what is neither a folder nor an address', () => {
  const cases: [data: string, message: RegExp][] = [
    ['postgress://app:ossifrage@db/jobs', /^--data: it takes a folder, :memory: or postgres:\/\/…, no other URL$/],
    ['pg://app:ossifrage@db/jobs', /no other URL/],
    ['mysql://app:ossifrage@db/jobs', /no other URL/],
    ['jdbc:postgresql://app:ossifrage@db/jobs', /no other URL/],
    ['postgresql+psycopg://app:ossifrage@db/jobs', /no other URL/],
    ['file:///var/lib/waitless', /no other URL/],
    ['postgres//app:ossifrage@db/jobs', /looks like an address without its scheme; write postgres:\/\//],
    ['app:ossifrage@db:5432/jobs', /looks like an address without its scheme/],
    ['postgres:app:ossifrage@db/jobs', /it takes postgres:\/\/user:password@host/],
    ['postgres://app:ossifrage@db', /the name of the database is missing/],
    ['postgres://app:ossifrage@db:0/jobs', /the port takes/],
  ];
  for (const [data, message] of cases) {
    test(data, () => {
      assert.match(refusal({ options: { data } }).message, message);
      assert.match(refusal({ env: { WAITLESS_DATA: data } }).message, /^WAITLESS_DATA: /);
      file('wrong.yaml', `port: 1\ndata: "${data}"\n`);
      assert.match(refusal({ options: { config: 'wrong.yaml' } }).message, /^data: .* \(wrong\.yaml line 2\)$/);
    });
  }
  test('folders with unusual names stay folders', () => {
    for (const data of ['./app:x@db/jobs', 'postgres', 'postgres/store', 'a@b/c', 'a:b'])
      assert.equal(resolve({ options: { data } }).config.data, join(folder, data));
  });
});
