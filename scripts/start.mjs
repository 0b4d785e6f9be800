// `npm start`: from a fresh clone to a running `waitless dev`. Arguments are passed on: `npm start -- --port 0`.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ready, root } from './ready.mjs';

const node = ready();
const command = join(root, 'packages/cli/bin/waitless.js');
const args = ['dev', ...process.argv.slice(2)];

if (node === process.execPath) {
  // In this process: no parent that has to pass signals on.
  process.argv = [node, command, ...args];
  await import(pathToFileURL(command).href);
} else {
  const child = spawn(node, [command, ...args], { stdio: 'inherit' });
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  // A terminal sends Ctrl-C to the child as well; a second one would cut its orderly stop short.
  process.on('SIGINT', () => void (process.stdin.isTTY || child.kill('SIGINT')));
  child.on('error', (error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 1;
    if (signal) console.error(`waitless ended by ${signal}`);
  });
}
