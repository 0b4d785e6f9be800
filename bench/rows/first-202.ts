// How long a newcomer waits for the first 202: from an empty folder with the packed packages, and from a clone with two commands.
import { join } from 'node:path';
import { installCommand, pack, root, run, startUntilUrl, unreachable } from '../../test/packaging/packed.ts';
import type { Bench, Row } from '../support/bench.ts';
import type { Figure } from '../support/figures.ts';

const row = 'first-202';
const packedGoalSeconds = 20;
const cloneGoalSeconds = 60;

/** A step that failed because the registry is out of reach: no figure, and no fault of ours. */
class OutOfReach extends Error {}

async function step(command: readonly string[], cwd: string): Promise<void> {
  const { code, stdout, stderr } = await run(command, { cwd });
  if (code === 0) return;
  const why = unreachable(stderr);
  if (why !== undefined) throw new OutOfReach(why);
  throw new Error(`${command.join(' ')} ended with ${code}: ${stderr}${stdout}`);
}

/** The first 202 of a server that `command` starts, and the end of that server. */
async function firstAccept(command: readonly string[], cwd: string): Promise<void> {
  const server = await startUntilUrl(command, { cwd }).catch((error: Error) => {
    const why = unreachable(error.message);
    throw why === undefined ? error : new OutOfReach(why);
  });
  try {
    const { status } = await fetch(`${server.url}/v1/call/echo`, { method: 'POST', body: 'hello' });
    if (status !== 202) throw new Error(`the first request was answered ${status}`);
  } finally {
    await server.end('SIGKILL');
  }
}

/** Seconds of each of `runs`, or why there are none. */
async function timed(
  bench: Bench,
  what: string,
  once: (folder: string) => Promise<number>,
): Promise<{ values: number[]; skipped?: string }> {
  try {
    return {
      values: await bench.repeat(what, async () => {
        const folder = bench.newFolder();
        const tookMs = await once(folder);
        bench.removeFolder(folder);
        return tookMs / 1000;
      }),
    };
  } catch (error) {
    if (error instanceof OutOfReach)
      return { values: [], skipped: `the registry cannot be reached (${error.message})` };
    throw error;
  }
}

const since = (startedAtMs: number): number => performance.now() - startedAtMs;

export const firstAcceptRow: Row = {
  name: row,
  about: 'seconds from the packed packages, and from a clone, to the first 202; npm has what it needs in its cache',
  async run(bench) {
    const figures: Figure[] = [];
    if (bench.wants('packed')) {
      bench.step('first-202: packing');
      const tarballFolder = bench.newFolder();
      const tarballs = await pack(tarballFolder);
      const packed = await timed(bench, 'first-202: packed', async (folder) => {
        const startedAtMs = performance.now();
        await step(installCommand(tarballs), folder);
        await firstAccept(['npx', '--no', 'waitless', 'dev', '--port', '0'], folder);
        return since(startedAtMs);
      });
      bench.removeFolder(tarballFolder);
      figures.push({
        row,
        case: 'packed',
        what: 'npm install, npx waitless dev, first 202',
        unit: 's',
        ...packed,
        target: { atMost: packedGoalSeconds },
      });
    }
    if (bench.wants('clone')) {
      const clone = await timed(bench, 'first-202: clone', async (folder) => {
        const startedAtMs = performance.now();
        await step(['git', 'clone', '--quiet', root, join(folder, 'waitless')], folder);
        await firstAccept(['npm', 'start', '--', '--port', '0'], join(folder, 'waitless'));
        return since(startedAtMs);
      });
      figures.push({
        row,
        case: 'clone',
        what: 'git clone, npm start, first 202',
        unit: 's',
        ...clone,
        target: { atMost: cloneGoalSeconds },
        note: 'what is committed; installs 420 MB with the development tools',
      });
    }
    return figures;
  },
};
