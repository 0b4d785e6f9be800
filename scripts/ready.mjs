// Makes a clone ready to run: dependencies as locked, packages compiled, and a Node that is new enough. Plain JavaScript without
// dependencies, because it runs on whatever Node the machine has (20 or newer), before anything is installed.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** @param {string} path */
const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));

/** Whether node_modules holds every locked version. Compared by content: file times say nothing after a clone or a copy. */
function isInstalled() {
  const installedList = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(installedList)) return false;
  const installed = readJson(installedList).packages;
  return Object.entries(readJson(join(root, 'package-lock.json')).packages).every(([path, locked]) => {
    if (!path.startsWith('node_modules/') && !path.includes('/node_modules/')) return true;
    if (locked.link) return true;
    // Optional packages are those of other platforms.
    return path in installed ? installed[path].version === locked.version : locked.optional;
  });
}

function install() {
  console.error('Installing the locked dependencies (about 420 MB, once; usually about a minute) ...');
  // One string, because on Windows npm is a script that only a shell can start.
  const { status, error } = spawnSync('npm ci --no-audit --no-fund --loglevel=error', {
    cwd: root,
    shell: true,
    stdio: ['ignore', 2, 2],
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`npm ci ended with ${status}: see its messages above.`);
}

/** @param {string} version */
function isNewEnough(version) {
  const needed = readJson(join(root, 'package.json')).engines.node.replace('>=', '');
  return version.localeCompare(needed, 'en', { numeric: true }) >= 0;
}

/** The Node to run with: this one, or the one that came as a package where this one is too old. */
function findNode() {
  if (isNewEnough(process.versions.node)) return process.execPath;
  const packaged = join(root, 'node_modules/.bin/node');
  const { status, stdout } = spawnSync(packaged, ['-p', 'process.versions.node'], { encoding: 'utf8' });
  if (status === 0 && isNewEnough(stdout.trim())) return packaged;
  throw new Error(
    `Node 22.22.2 or newer is needed, this is ${process.versions.node}, and none came with the packages.`,
  );
}

/**
 * Installs and builds what is missing.
 * @returns {string} the path of the Node to run with
 */
export function ready() {
  try {
    if (!isInstalled()) install();
    const node = findNode();
    // Always asked: the compiler knows better than file times what is stale, and answers in a fraction of a second when nothing is.
    const build = spawnSync(node, [join(root, 'scripts/build.mjs')], { stdio: ['ignore', 2, 2] });
    if (build.status !== 0) throw new Error('The build failed: see its messages above.');
    return node;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return process.exit(1);
  }
}
