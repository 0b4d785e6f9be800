// Compiles the packages in the order of their references, copies what the compiler leaves behind, and removes outputs whose source is gone.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Files that the server reads at run time beside its code: migrations and static pages. */
const asset = /\.(sql|html|css|js)$/;
const compiled = /(\.d\.ts|\.js)(\.map)?$/;

/** @param {string} folder @returns {string[]} */
function filesIn(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());
}

/** @param {string} source @param {string} target */
function copyIfChanged(source, target) {
  if (existsSync(target) && readFileSync(source).equals(readFileSync(target))) return;
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(source, target);
}

const compiler = join(root, 'node_modules/@typescript/native/bin/tsc');
const compile = spawnSync(process.execPath, [compiler, '-b', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
if (compile.error) throw compile.error;

for (const name of readdirSync(join(root, 'packages'))) {
  const source = join(root, 'packages', name, 'src');
  const target = join(root, 'packages', name, 'dist');
  for (const path of filesIn(source)) {
    if (asset.test(path)) copyIfChanged(path, join(target, relative(source, path)));
  }
  for (const path of filesIn(target)) {
    if (path.endsWith('.tsbuildinfo')) continue;
    const origin = join(source, relative(target, path));
    if (!existsSync(origin) && !existsSync(origin.replace(compiled, '.ts'))) rmSync(path);
  }
}
process.exitCode = compile.status ?? 1;
