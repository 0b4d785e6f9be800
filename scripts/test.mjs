// `npm test`: from a fresh clone to the result of the tests. `npm test -- FILE... --test-name-pattern=...` runs a part, `--long` the long suites.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ready, root } from './ready.mjs';
import { sharedPostgres } from './shared-postgres.mjs';

const args = process.argv.slice(2);
const long = args.includes('--long');
const options = args.filter((arg) => arg.startsWith('--') && arg !== '--long');
const named = args.filter((arg) => !arg.startsWith('--'));

function testFiles() {
  const folders = [...readdirSync(join(root, 'packages')).map((name) => `packages/${name}/src`), 'test'];
  return folders
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) =>
        join(folder, name).replaceAll('\\', '/'),
      ),
    )
    .filter((path) => path.endsWith('.test.ts'))
    .filter((path) => (path.endsWith('.long.test.ts') || path.startsWith('test/faults/long/')) === long)
    .sort();
}

const node = ready();
const files = named.length > 0 ? named : testFiles();
if (files.length === 0) {
  console.error(`No ${long ? 'long ' : ''}test files found.`);
  process.exit(1);
}

const runner = ['--test', '--test-reporter=spec', '--test-concurrency=2'];
// A hanging test is named after five minutes instead of holding up everything; the long suites take their time.
if (!long) runner.push('--test-timeout=300000');
const postgres = await sharedPostgres(node);
// Each of three hundred test files loads the same modules: what was compiled for one is there for the next.
const env = { NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/node'), ...process.env, ...postgres.env };
const child = spawn(node, [...runner, ...options, ...files], { cwd: root, env, stdio: 'inherit' });
// The runner stops its test files itself; leaving first would orphan them.
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.on(signal, () => child.kill(signal));
child.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
child.on('exit', (code) => (process.exitCode = code ?? 1));
child.on('close', () => void postgres.end());
