// The published packages as tarballs, and npm as a stranger's shell would run it: shared by the test of the packages and the benchmark of the first 202.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Manifest {
  name: string;
  version: string;
  license?: string;
  private?: boolean;
  workspaces?: readonly string[];
  bin?: Readonly<Record<string, string>>;
  exports?: Readonly<Record<string, unknown>>;
  dependencies?: Readonly<Record<string, string>>;
  optionalDependencies?: Readonly<Record<string, string>>;
  scripts?: Readonly<Record<string, string>>;
  engines?: { node: string };
  publishConfig?: { access?: string };
}

export const readManifest = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;

/** Folders of the published packages, in the order of their dependencies. */
export const publishedFolders: readonly string[] = readManifest(root).workspaces!.map((path) => join(root, path));

/** What a shell outside this repository has: npm, the Node that runs this, and nothing of what `npm test` or a caller's Waitless has set. */
export function strangersEnvironment(node: string = process.execPath): NodeJS.ProcessEnv {
  const foreign =
    /^(WAITLESS_|npm_(package|lifecycle|config_(local_)?prefix|config_global_prefix|execpath|command)|NODE_(OPTIONS|PATH|TEST_CONTEXT|V8_COVERAGE|COMPILE_CACHE)$)/;
  const own = Object.entries(process.env).filter(([name]) => !foreign.test(name));
  const path = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'));
  return { ...Object.fromEntries(own), NO_COLOR: '1', PATH: [dirname(node), ...path].join(delimiter) };
}

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end. */
export async function run(
  [program = '', ...argv]: readonly string[],
  { cwd, env = strangersEnvironment() }: { cwd: string; env?: NodeJS.ProcessEnv },
): Promise<Ended> {
  const child = spawn(program, argv, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const code = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const [stdout, stderr, ended] = await Promise.all([text(child.stdout), text(child.stderr), code]);
  return { code: ended, stdout, stderr };
}

/** Packs every published package into `folder`. Resolves with the paths of the tarballs in the order of the packages. */
export async function pack(folder: string): Promise<string[]> {
  const workspaces = publishedFolders.map((path) => `--workspace=${path}`);
  const { code, stdout, stderr } = await run(['npm', 'pack', '--json', '--pack-destination', folder, ...workspaces], {
    cwd: root,
  });
  if (code !== 0) throw new Error(`npm pack ended with ${code}: ${stderr}`);
  const packed = JSON.parse(stdout) as readonly { name: string; filename: string }[];
  return publishedFolders.map((path) => {
    const { name } = readManifest(path);
    return join(folder, packed.find((one) => one.name === name)!.filename);
  });
}

/** Why an install that failed could not have succeeded, or undefined where it is the packages' fault. */
export const unreachable = (stderr: string): string | undefined =>
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED|ERR_SOCKET_TIMEOUT)\b/.exec(
    stderr,
  )?.[0];

export const installCommand = (tarballs: readonly string[]): readonly string[] => [
  'npm',
  'install',
  '--no-audit',
  '--no-fund',
  '--prefer-offline',
  '--fetch-retries=0',
  '--fetch-timeout=30000',
  ...tarballs,
];

export interface Started {
  url: string;
  /** Everything printed so far. */
  readonly printed: string;
  /** Ends the whole group: npx puts a shell between itself and the command. */
  end(signal: NodeJS.Signals): Promise<void>;
}

/** Starts a command that prints the URL it listens on. */
export async function startUntilUrl(
  [program = '', ...argv]: readonly string[],
  { cwd, env = strangersEnvironment() }: { cwd: string; env?: NodeJS.ProcessEnv },
): Promise<Started> {
  const child: ChildProcess = spawn(program, argv, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let printed = '';
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, signal);
    } catch {
      // Nothing is left of it.
    }
    await closed;
  };
  const url = await new Promise<string>((resolve, reject) => {
    const listen = (text: string): void => {
      printed += text;
      const found = /listening on (http:\/\/\S+)/.exec(printed);
      if (found) resolve(found[1]!);
    };
    child.stdout!.setEncoding('utf8').on('data', listen);
    child.stderr!.setEncoding('utf8').on('data', (text: string) => void (printed += text));
    child.once('error', reject);
    void closed.then(() => reject(new Error(`${program} ended before it listened:\n${printed}`)));
  });
  return {
    url,
    get printed() {
      return printed;
    },
    end,
  };
}
