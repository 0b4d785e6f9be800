// Reads every import line under packages/*/src and says where an arrow of docs/architecture.md points up. `npm run imports`.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';

/**
 * @typedef {{ path: string, text: string }} SourceFile path from the root of the repository, with slashes
 * @typedef {{ from: string, specifier: string, typeOnly: boolean }} Import
 * @typedef {Record<string, { name: string, dependencies: string[] }>} Packages by the name of their folder
 */

/** Which packages a package may import. One that is not named here may import none. */
const packageArrows = /** @type {Record<string, string[]>} */ ({
  protocol: [],
  client: ['protocol'],
  server: ['protocol'],
  cli: ['client', 'protocol', 'server'],
});

/** Packages that run in a browser as well. */
const withoutNode = new Set(['protocol', 'client']);

/** Which folders of the server a folder of the server may import, besides itself. */
const serverArrows = /** @type {Record<string, string[]>} */ ({
  edges: ['core', 'engine', 'lib'],
  targets: ['core', 'engine', 'lib'],
  engines: ['core', 'engine', 'lib'],
  core: ['engine', 'lib'],
  engine: ['lib'],
  config: ['lib'],
  lib: [],
});

/** The only files that may import from every folder of the server. */
const compositionRoot = new Set(['server.ts', 'index.ts']);

/** Folders whose members must not know each other, with the files that all members share. */
const strangers = /** @type {Record<string, string[]>} */ ({
  edges: ['auth.ts', 'edge.ts', 'json'],
  targets: ['address.ts', 'giving-up.ts', 'guarded-connector.ts'],
  engines: ['lane.ts', 'rows.ts', 'transition-event.ts'],
});

const importLine =
  /^\s*(?:import|export)\s+(type\b)?[^'";]*?\bfrom\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm;

/** @param {SourceFile} file @returns {Import[]} */
function importsOf({ path, text }) {
  return [...text.matchAll(importLine)].map(([, type, from, bare, dynamic]) => ({
    from: path,
    specifier: from ?? bare ?? dynamic ?? '',
    typeOnly: type !== undefined,
  }));
}

/** @param {string} path path inside src, such as `edges/http/router.ts` */
function place(path) {
  const [folder = '', member = ''] = path.split('/');
  if (!path.includes('/')) return { folder: '', member: '' };
  const shared = strangers[folder]?.includes(member) ?? false;
  return { folder, member: shared ? '' : member.replace(/\.ts$/, '') };
}

/** @param {string} from @param {string} to both inside packages/server/src @param {boolean} typeOnly @returns {string | undefined} */
function serverFault(from, to, typeOnly) {
  if (compositionRoot.has(from)) return undefined;
  const [source, target] = [place(from), place(to)];
  if (target.folder === '') return 'only the composition root may put the parts together';
  if (target.folder === source.folder) {
    const apart = target.folder in strangers && target.member !== '' && target.member !== source.member;
    return apart ? `members of ${target.folder}/ must not know each other` : undefined;
  }
  if (target.folder === 'config' && typeOnly) return undefined;
  if (serverArrows[source.folder]?.includes(target.folder)) return undefined;
  return `${source.folder === '' ? from : `${source.folder}/`} must not import ${target.folder === 'config' ? 'more than types of config' : target.folder}/`;
}

/**
 * @param {Import} line
 * @param {Packages} packages
 * @returns {string | undefined} what is wrong with it
 */
function fault({ from, specifier, typeOnly }, packages) {
  const [, own = '', , ...inside] = from.split('/');
  const isTest = from.endsWith('.test.ts');

  if (specifier.startsWith('.')) {
    const to = posix.join(posix.dirname(from), specifier);
    const source = `packages/${own}/src/`;
    if (to.startsWith('test/')) return 'src must not import test/';
    if (!to.startsWith(source)) return 'another package is imported by its name';
    const fromConformance = from.includes('/conformance/');
    if (to.includes('/conformance/') && !isTest && !fromConformance) return 'only tests may import a conformance suite';
    // Tests wire what they need; they are not part of what is published.
    if (own !== 'server' || isTest || fromConformance) return undefined;
    return serverFault(inside.join('/'), to.slice(source.length), typeOnly);
  }

  if (isTest || from.includes('/conformance/')) return undefined;
  if (specifier.startsWith('node:')) return withoutNode.has(own) ? `${own} also runs in a browser` : undefined;
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
  const folder = Object.keys(packages).find((key) => packages[key]?.name === name);
  if (folder !== undefined && folder !== own && !packageArrows[own]?.includes(folder)) {
    return `${own} must not import ${folder}`;
  }
  if (!packages[own]?.dependencies.includes(name)) return `${name} is not a dependency in packages/${own}/package.json`;
  return undefined;
}

/**
 * The faults of these files, one line each.
 * @param {SourceFile[]} files
 * @param {Packages} packages
 */
export function checkImports(files, packages) {
  return files.flatMap(importsOf).flatMap((line) => {
    const reason = fault(line, packages);
    return reason === undefined ? [] : [`${line.from}: '${line.specifier}': ${reason}`];
  });
}

/** What this repository holds. @param {string} root @returns {{ files: SourceFile[], packages: Packages }} */
export function readSources(root) {
  const files = [];
  const packages = /** @type {Packages} */ ({});
  for (const folder of readdirSync(join(root, 'packages'))) {
    const manifest = JSON.parse(readFileSync(join(root, 'packages', folder, 'package.json'), 'utf8'));
    packages[folder] = { name: manifest.name, dependencies: Object.keys(manifest.dependencies ?? {}) };
    const source = join(root, 'packages', folder, 'src');
    for (const name of readdirSync(source, { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.ts')) continue;
      const path = posix.join('packages', folder, 'src', name.replaceAll('\\', '/'));
      files.push({ path, text: readFileSync(join(source, name), 'utf8') });
    }
  }
  return { files, packages };
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const { files, packages } = readSources(dirname(dirname(fileURLToPath(import.meta.url))));
  const faults = checkImports(files, packages);
  for (const line of faults) console.error(line);
  if (faults.length > 0) process.exitCode = 1;
  else console.log(`${files.length} files: every import points down.`);
}
