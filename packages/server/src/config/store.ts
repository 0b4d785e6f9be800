// Which store `data` names: memory, a folder or a PostgreSQL database, with what belongs to the last alone.
import { resolve } from 'node:path';
import { ConfigError, WrongValue } from './config-error.ts';
import { readText } from './config-file.ts';
import type { OptionName, OptionValues } from './options.ts';
import {
  driverAddress,
  fileParameters,
  formatPostgresAddress,
  isPostgresAddress,
  parsePostgresAddress,
  type PostgresAddress,
} from './postgres-address.ts';
import { type Found, whereOf } from './sources.ts';

/** As people may see it: nothing in here is secret. */
export interface StoreShown {
  readonly kind: 'memory' | 'folder' | 'postgres';
  /** Works as `data` again, but for a password, which is `***`. */
  readonly data: string;
  /** Where it is, in words. */
  readonly title: string;
}

export interface StoreChoice {
  /** For the engine: `:memory:`, an absolute path, or the address with its password. */
  readonly data: string;
  readonly shown: StoreShown;
  /** Sentences to show at start. */
  readonly warnings: readonly string[];
}

interface Given {
  readonly values: OptionValues;
  readonly found: ReadonlyMap<OptionName, Found>;
  readonly cwd: string;
}

/** Means nothing without a PostgreSQL address. */
const postgresOptions = ['dataPasswordFile', 'iAcceptWeakDurability'] as const;

export function resolveStore(given: Given): StoreChoice {
  const { values, found, cwd } = given;
  const { data } = values;
  if (isPostgresAddress(data)) return postgresStore(given);
  const where = whereOf(found.get('data'));
  if (/^[a-z][a-z0-9+.:-]*:\/\//i.test(data))
    throw new ConfigError('data', 'it takes a folder, :memory: or postgres://…, no other URL', where);
  // A folder of that name would be made, and the password would stand in it.
  if (/^[^/]*:[^/]*@[^/]+\/|^postgres(?:ql)?\/\/.*@/i.test(data))
    throw new ConfigError('data', 'it looks like an address without its scheme; write postgres:// before it', where);
  const warnings = withoutPostgres(given);
  if (data === ':memory:') return { data, shown: { kind: 'memory', data, title: 'in memory' }, warnings };
  const folder = resolve(found.get('data')?.folder ?? cwd, data);
  return { data: folder, shown: { kind: 'folder', data: folder, title: folder }, warnings };
}

/** Where no store is named, a folder of its own is hardly what is wanted: two nodes would work on two stores and nobody would notice. */
function withoutPostgres({ values, found }: Given): string[] {
  const given = postgresOptions.filter((name) => values[name] !== undefined && values[name] !== false);
  for (const name of found.has('data') ? [] : given)
    throw new ConfigError(
      name,
      'it belongs to a PostgreSQL store and none is named; add --data postgres://user@host:5432/database',
      whereOf(found.get(name)),
    );
  return given.map((name) => {
    const { label, place } = whereOf(found.get(name));
    return `${label ?? name}${place === undefined ? '' : ` (${place})`} does nothing here: the store is not PostgreSQL.`;
  });
}

function postgresStore({ values, found, cwd }: Given): StoreChoice {
  const given = found.get('data');
  const written = addressOf(values.data, given);
  const address = withPassword(withFiles(written, given, cwd), { values, found, cwd });
  const { user, host, port, database, schema } = address;
  const place = host.startsWith('/')
    ? `socket in ${host}, port ${port}`
    : `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return {
    data: driverAddress(address),
    shown: {
      kind: 'postgres',
      data: formatPostgresAddress({ ...address, password: written.password === undefined ? undefined : '***' }),
      title: `PostgreSQL ${place}, database ${database}, schema ${schema}${user === undefined ? '' : `, as ${user}`}`,
    },
    warnings:
      given?.origin.kind === 'flag' && written.password !== undefined
        ? [
            'Every process list of this machine shows the password in --data; give the address in WAITLESS_DATA, or the password in --data-password-file FILE, PGPASSWORD or ~/.pgpass.',
          ]
        : [],
  };
}

function addressOf(text: string, given: Found | undefined): PostgresAddress {
  try {
    return parsePostgresAddress(text);
  } catch (error) {
    if (error instanceof WrongValue) throw new ConfigError('data', error.message, whereOf(given));
    throw error;
  }
}

/** Files of certificates by their full path; the driver reads them at each connection, so one that cannot be read is told now. */
function withFiles(address: PostgresAddress, given: Found | undefined, cwd: string): PostgresAddress {
  const parameters = { ...address.parameters };
  for (const parameter of fileParameters) {
    const name = parameters[parameter];
    if (name === undefined) continue;
    const path = resolve(given?.folder ?? cwd, name);
    readText({ path, name, field: 'data', ...whereOf(given) });
    parameters[parameter] = path;
  }
  return { ...address, parameters };
}

/** With the password that stands in a file of its own, if one is named. */
function withPassword(address: PostgresAddress, { values, found, cwd }: Given): PostgresAddress {
  const name = values.dataPasswordFile;
  if (name === undefined) return address;
  const given = found.get('dataPasswordFile');
  const fail = (sentence: string): never => {
    throw new ConfigError('dataPasswordFile', sentence, whereOf(given));
  };
  if (address.password !== undefined) fail('the address in data has a password as well; keep one of the two');
  if (address.user === undefined)
    fail('a password needs a user; write it into the address, such as postgres://user@host');
  const path = resolve(given?.folder ?? cwd, name);
  const password = readText({ path, name, field: 'dataPasswordFile', ...whereOf(given) })
    .replace(/^\uFEFF/, '')
    .replace(/\r?\n$/, '');
  if (password === '') fail(`${name} is empty; it takes the password and nothing else`);
  // oxlint-disable-next-line no-control-regex -- control characters are what is refused
  if (/[\0-\x1f\x7f]/.test(password)) fail(`${name} takes the password alone, on one line without control characters`);
  return { ...address, password };
}
