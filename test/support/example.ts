// Runs an example as its README says, from one command to the last process stopped.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** What the example printed. Fails where it did not end well, or left one of the processes running that it names; it has to name `processes` of them. */
export async function runExample(
  t: TestContext,
  { script, env, processes }: { script: string; env: Record<string, string>; processes: number },
): Promise<string> {
  const child = spawn(process.execPath, [script], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, so that a failing test can stop what the example started as well.
    detached: true,
  });
  const group = child.pid!;
  t.after(() => {
    try {
      process.kill(-group, 'SIGKILL');
    } catch {
      // Nothing is left of it.
    }
  });
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  assert.equal(code, 0, `${errors}\n${output}`);
  const pids = [...output.matchAll(/: process (\d+)$/gm)].map(([, pid]) => Number(pid));
  assert.equal(pids.length, processes);
  assert.deepEqual(pids.filter(isRunning), []);
  return output;
}
