// Starts the example's processes, passes on what they say, and stops each by its process id.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** How long a process may take to stop when it is asked to, before it is stopped by force. */
const patienceMs = 10_000;

/**
 * @typedef {{ name: string, pid: number, lines: string[], line: (pattern: RegExp) => Promise<RegExpMatchArray>, stop: () => Promise<void> }} Running
 *   `line` resolves with the first line on stdout that matches, and rejects when the process ends without one.
 */

/**
 * @param {{ name: string, node: string, argv: string[], env?: Record<string, string>, onLine?: (line: string) => void }} command
 * @returns {Running}
 */
export function start({ name, node, argv, env = {}, onLine }) {
  // What the shell says to another Waitless must not reach this one.
  const own = Object.entries(process.env).filter(([variable]) => !variable.startsWith('WAITLESS_'));
  const child = spawn(node, argv, {
    env: { ...Object.fromEntries(own), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'close').then(([code, signal]) => `${name} ended with ${signal ?? code}`);
  const failed = ended.catch((error) => `${name} could not be started: ${error.message}`);
  let errors = '';
  child.stderr.on('data', (chunk) => (errors += chunk));

  /** @type {string[]} */
  const lines = [];
  /** @type {Set<(line: string) => void>} */
  const listeners = new Set();
  createInterface(child.stdout).on('line', (line) => {
    lines.push(line);
    onLine?.(line);
    for (const listener of listeners) listener(line);
  });

  return {
    name,
    pid: child.pid ?? 0,
    lines,
    line: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (/** @type {string} */ line) => {
          const match = line.match(pattern);
          if (match === null) return;
          listeners.delete(look);
          resolve(match);
        };
        listeners.add(look);
        for (const line of lines) look(line);
        void failed.then((why) => reject(new Error(`${why}\n${errors}`.trim())));
      }),
    async stop() {
      child.kill('SIGTERM');
      const force = setTimeout(() => child.kill('SIGKILL'), patienceMs);
      await failed;
      clearTimeout(force);
    },
  };
}
