// Tells a slow spell of the machine from a slow server: how long a fixed piece of arithmetic takes on every core at once.
//
// Virtual machines share their cores with strangers that no counter inside shows; a core that suddenly runs at a fifth of its speed spoils a run.
import { availableParallelism } from 'node:os';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

/** Steps of one probe: 2 to 3 ms on a core of today. Shorter drowns in scheduling, longer disturbs what is measured. */
const steps = 2_000_000;
const tries = 3;

export interface CoreSpeed {
  /** Nanoseconds per step of the slowest core: a 2.4 GHz core that is left alone takes about 1.3. */
  probe(): Promise<number>;
  stop(): Promise<void>;
}

function timeSteps(): number {
  const started = performance.now();
  let x = 1;
  // Each step needs the one before it, so that no core can do two at once.
  for (let i = 0; i < steps; i++) x = (Math.imul(x, 31) + i) | 0;
  const took = performance.now() - started;
  // Never true; without a use of x the loop would be left out.
  return took < 0 ? x : (took * 1e6) / steps;
}

export function startCoreSpeed(): CoreSpeed {
  const workers = Array.from({ length: availableParallelism() }, () => {
    const worker = new Worker(new URL(import.meta.url));
    worker.unref();
    return worker;
  });
  const ask = (worker: Worker): Promise<number> =>
    new Promise((resolve, reject) => {
      worker.once('error', reject);
      worker.once('message', (nanoseconds: number) => {
        worker.off('error', reject);
        resolve(nanoseconds);
      });
      worker.postMessage('probe');
    });
  return {
    probe: async () => Math.max(...(await Promise.all(workers.map(ask)))),
    stop: async () => void (await Promise.all(workers.map((worker) => worker.terminate()))),
  };
}

if (!isMainThread) {
  // Compiled before it is asked for the first time.
  timeSteps();
  // The best of a few: being set aside for a moment is not being slow.
  parentPort!.on('message', () => parentPort!.postMessage(Math.min(...Array.from({ length: tries }, timeSteps))));
}
