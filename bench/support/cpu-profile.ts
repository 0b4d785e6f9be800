// Where the threads of a server spent their time, from the profiles that Node wrote.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  timeDeltas: number[];
}

const mostLines = 25;

/** Adds time up under a name. */
const add = (sums: Map<string, number>, name: string, took: number): void =>
  void sums.set(name, (sums.get(name) ?? 0) + took);

/** Last two parts of a path, since many files are called index.js. */
const shortUrl = (url: string): string => (url.startsWith('node:') ? url : url.split('/').slice(-2).join('/'));

/** Prints for each profile in `folder` the functions and the files with the most time of their own, as a share of the time that was not idle. */
export function printProfiles(folder: string, out: NodeJS.WritableStream): void {
  const files = readdirSync(folder)
    .filter((name) => name.endsWith('.cpuprofile'))
    .sort();
  for (const file of files) {
    const profile = JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile;
    const frames = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
    const byFunction = new Map<string, number>();
    const byFile = new Map<string, number>();
    let total = 0;
    let busy = 0;
    profile.samples.forEach((id, i) => {
      const { functionName, url, lineNumber } = frames.get(id)!;
      const took = profile.timeDeltas[i]!;
      total += took;
      if (functionName === '(idle)') return;
      busy += took;
      add(
        byFunction,
        `${functionName || '(anonymous)'}${url === '' ? '' : ` ${shortUrl(url)}:${lineNumber + 1}`}`,
        took,
      );
      add(byFile, url === '' ? 'native' : shortUrl(url), took);
    });
    out.write(`\n${file}: ${(total / 1e6).toFixed(1)} s, ${((busy / total) * 100).toFixed(0)} % busy\n`);
    const top = (sums: Map<string, number>): [string, number][] =>
      Array.from(sums)
        .sort((a, b) => b[1] - a[1])
        .slice(0, mostLines);
    for (const [title, sums] of [
      ['function', byFunction],
      ['file', byFile],
    ] as const) {
      out.write(`  by ${title}\n`);
      for (const [name, took] of top(sums)) out.write(`  ${((took / busy) * 100).toFixed(1).padStart(5)} %  ${name}\n`);
    }
  }
}
