// A pull worker as a process of its own, so that it can be killed with leases in its hands.
import { spawn } from 'node:child_process';
import type { TestContext } from 'node:test';
import { cleanUp } from './cleanup.ts';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('./holding-worker.ts', import.meta.url));

export interface WorkerProcess {
  /** Kills it at once and resolves when it is gone. */
  kill(): Promise<void>;
}

/** Resolves when the worker holds `max` leases, which it never answers. */
export async function spawnWorker(
  t: TestContext,
  { url, service, worker, max }: { url: string; service: string; worker: string; max: number },
): Promise<WorkerProcess> {
  const child = spawn(process.execPath, [program, url, service, worker, String(max)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const kill = (): Promise<void> => {
    child.kill('SIGKILL');
    return exited;
  };
  cleanUp(t, kill);
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    void exited.then(() => reject(new Error('the worker ended before it held its leases')));
  });
  return { kill };
}
