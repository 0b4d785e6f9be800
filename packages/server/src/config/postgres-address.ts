// The address of a PostgreSQL store: taken apart and checked before anything connects. No message ever quotes it, for it may hold a password.
import { isIP } from 'node:net';
import { WrongValue } from './config-error.ts';
import { didYouMean } from './nearest.ts';
import { choiceValue, show } from './values.ts';

export interface PostgresAddress {
  /** Undefined: that of PGUSER, else the user this process runs as. */
  readonly user: string | undefined;
  /** Undefined: that of PGPASSWORD, else of the password file (~/.pgpass), else none. */
  readonly password: string | undefined;
  /** Name, address without brackets, or the folder of a local socket, which begins with a slash. */
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly schema: string;
  /** The other parameters, decoded. */
  readonly parameters: Readonly<Partial<Record<Parameter, string>>>;
}

type Parameter = 'sslmode' | 'sslrootcert' | 'sslcert' | 'sslkey' | 'application_name';

const example = 'postgres://user:password@host:5432/database?schema=waitless';
const names = ['schema', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'application_name'] as const;
/** Those that name a file. */
export const fileParameters = ['sslrootcert', 'sslcert', 'sslkey'] as const;

export const isPostgresAddress = (text: string): boolean => /^postgres(?:ql)?:/i.test(text);

const wrong = (sentence: string): never => {
  throw new WrongValue(sentence);
};

/** Percent-encoding undone; neither broken encoding nor control characters pass. */
function decoded(text: string): string {
  let plain: string;
  try {
    plain = decodeURIComponent(text);
  } catch {
    return wrong('a "%" in the address begins a percent-encoded byte of UTF-8; write %25 for the character itself');
  }
  // oxlint-disable-next-line no-control-regex -- control characters are what is refused
  return /[\0-\x1f\x7f]/.test(plain) ? wrong('the address has control characters in it; remove them') : plain;
}

/** Takes an address apart, or throws WrongValue. */
export function parsePostgresAddress(text: string): PostgresAddress {
  const [, authority, rest] = /^postgres(?:ql)?:\/\/([^/?#]*)(.*)$/is.exec(text) ?? wrong(`it takes ${example}`);
  // A password with one of these characters as it is ends the authority early, and its rest would be read, and quoted, as something else.
  if (/[@#\s\\]/.test(rest!) || /[\s\\]/.test(authority!))
    wrong(
      'spaces and characters such as "/", "?", "#", "@" and "\\" in user, password and values are percent-encoded: %2F stands for "/"',
    );
  const at = authority!.lastIndexOf('@');
  const [user, ...password] = authority!.slice(0, Math.max(at, 0)).split(':');
  if (at >= 0 && user === '') wrong(`the user before "@" is missing; it takes ${example}`);
  const [, path, query] = /^([^?]*)\??(.*)$/s.exec(rest!)!;
  return {
    user: at < 0 ? undefined : decoded(user!),
    password: decoded(password.join(':')) || undefined,
    ...placeOf(authority!.slice(at + 1)),
    database: databaseOf(path!),
    ...parametersOf(query!),
  };
}

function placeOf(text: string): { host: string; port: number } {
  const [, bracketed, bare, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/s.exec(text) ?? [];
  const host = decoded(bracketed ?? bare ?? '');
  if (text === '' || text.startsWith(':')) wrong(`the host is missing; it takes ${example}`);
  const fits =
    bracketed !== undefined
      ? isIP(host) === 6 && !host.includes('%')
      : isIP(host) === 4 ||
        host.startsWith('/') ||
        (/^[a-z0-9_][a-z0-9._-]{0,252}$/i.test(host) && !/^[\d.]+$/.test(host));
  if (!fits) wrong('the host takes one name or address, with brackets around an IPv6 one, and a port after a colon');
  const port = digits === undefined ? 5432 : /^\d{1,5}$/.test(digits) ? Number(digits) : 0;
  if (port < 1 || port > 65535) wrong('the port takes a whole number from 1 to 65535');
  return { host, port };
}

function databaseOf(path: string): string {
  const database = decoded(path.slice(1));
  if (database === '') wrong(`the name of the database is missing; it takes ${example}`);
  // PostgreSQL cuts longer names off, and the driver cannot carry these characters.
  if (/[/?#@]|^\.\.?$/.test(database) || Buffer.byteLength(database) > 63)
    wrong('the path takes the name of one database, of at most 63 bytes and without "/", "?", "#" and "@"');
  return database;
}

function parametersOf(query: string): Pick<PostgresAddress, 'schema' | 'parameters'> {
  const given: Partial<Record<(typeof names)[number], string>> = {};
  for (const pair of query.split('&').filter((part) => part !== '')) {
    const [key = '', ...value] = pair.split('=');
    const written = decoded(key);
    const name = names.find((known) => known === written);
    if (name === undefined)
      return wrong(
        `there is no parameter ${show(written)}${didYouMean(written, names) || `; it takes ${names.join(', ')}`}`,
      );
    if (name in given) wrong(`the parameter "${name}" stands there twice; keep one`);
    given[name] = decoded(value.join('=').replaceAll('+', ' '));
    if (given[name] === '') wrong(`the parameter "${name}" has no value; give one or leave it out`);
  }
  const { schema = 'waitless', ...parameters } = given;
  if (!/^[a-z_][a-z0-9_]{0,47}$/.test(schema))
    wrong(
      `the schema ${show(schema)} does not fit; it begins with a small letter or "_" and goes on with small letters, digits and "_", 48 characters at most`,
    );
  if (schema.startsWith('pg_') || schema === 'information_schema')
    wrong(`the schema "${schema}" is PostgreSQL's own; take another name`);
  checkTls(parameters);
  // Certificates without a mode are checked in full; said aloud, so that it is seen.
  const isTls = fileParameters.some((name) => parameters[name] !== undefined);
  return { schema, parameters: isTls ? { sslmode: 'verify-full', ...parameters } : parameters };
}

function checkTls({ sslmode, ...parameters }: PostgresAddress['parameters']): void {
  if (sslmode === 'prefer' || sslmode === 'allow')
    wrong(`sslmode=${sslmode} may go unencrypted without a word; take require, verify-ca, verify-full, or disable`);
  try {
    if (sslmode !== undefined) choiceValue(sslmode, ['disable', 'no-verify', 'require', 'verify-ca', 'verify-full']);
  } catch (error) {
    wrong(`sslmode: ${(error as WrongValue).message}`);
  }
  if (sslmode === 'verify-ca' && parameters.sslrootcert === undefined)
    wrong('sslmode=verify-ca needs sslrootcert=FILE, the certificate of whoever signs; or take verify-full');
  if ((parameters.sslcert === undefined) !== (parameters.sslkey === undefined))
    wrong('sslcert and sslkey belong together: the certificate and its key');
  const useless = fileParameters.find((name) => parameters[name] !== undefined);
  if (sslmode === 'disable' && useless !== undefined)
    wrong(`${useless} has no use with sslmode=disable; leave one of the two out`);
}

/** The address as one text, every part written out. */
export function formatPostgresAddress(address: PostgresAddress): string {
  const { user, password, host, port, database, schema, parameters } = address;
  const login =
    user === undefined
      ? ''
      : `${encodeURIComponent(user)}${password === undefined ? '' : `:${encodeURIComponent(password)}`}@`;
  const place = isIP(host) === 6 ? `[${host}]` : encodeURIComponent(host);
  const query = Object.entries({ schema, ...parameters }).map(
    ([name, value]) => `${name}=${encodeURIComponent(value)}`,
  );
  // Not encodeURIComponent: the driver undoes no more than this in a path.
  return `postgres://${login}${place}:${port}/${encodeURI(database)}?${query.join('&')}`;
}

/** What the driver gets: `require` and `verify-ca` mean what they mean everywhere else, where it would take them for `verify-full` and print a warning. */
export function driverAddress(address: PostgresAddress): string {
  const { sslmode } = address.parameters;
  return `${formatPostgresAddress(address)}${sslmode === 'require' || sslmode === 'verify-ca' ? '&uselibpqcompat=true' : ''}`;
}
