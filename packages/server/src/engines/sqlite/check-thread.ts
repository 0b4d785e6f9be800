// Looks at a copy in a thread of its own: reading all of a large store would hold up whoever waits for the server.
import { parentPort, workerData } from 'node:worker_threads';
import { checkCopy } from './store-file.ts';

const { path } = workerData as { path: string };
let failed: string | null = null;
try {
  checkCopy(path, 'quick');
} catch (error) {
  failed = (error as Error).message;
}
parentPort!.postMessage(failed);
