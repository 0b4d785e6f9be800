// The CPU time of a server that is many processes, such as PostgreSQL with one per connection: all of them, and those that have ended meanwhile.
import { readdirSync, readFileSync } from 'node:fs';
import { ticksPerSecond } from './process-stats.ts';

interface Stat {
  parent: number;
  /** Ticks of its own, and of the children it has waited for after their end. */
  own: number;
  ended: number;
}

function statOf(pid: number): Stat | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name in parentheses may hold spaces; the parent is the 2nd field after it, the four times are 12th to 15th.
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    return { parent: fields[1]!, own: fields[11]! + fields[12]!, ended: fields[13]! + fields[14]! };
  } catch {
    // It has ended since its name was read.
    return undefined;
  }
}

/** A process ends between two reads now and then; more often than this in a row does not happen. */
const mostTries = 20;

/**
 * User and system seconds of `root`, its descendants, and those that it has outlived, in steps of 10 ms per process.
 * Times of an ended process pass to its parent at once, so that a count during which one ended is taken again.
 */
export function treeCpuSeconds(root: number): number {
  for (let attempt = 1; ; attempt++) {
    const before = new Set(treeOf(root));
    let ticks = 0;
    for (const pid of before) {
      const stat = statOf(pid);
      if (stat) ticks += stat.own + stat.ended;
    }
    const after = new Set(treeOf(root));
    if (!after.has(root)) throw new Error(`process ${root}, whose CPU time is wanted, has ended`);
    if (attempt === mostTries || [...before].every((pid) => after.has(pid))) return ticks / ticksPerSecond;
  }
}

/** The process and all that descend from it. */
export function treeOf(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!(pid > 0)) continue;
    const parent = statOf(pid)?.parent;
    if (parent === undefined) continue;
    const siblings = children.get(parent);
    if (siblings) siblings.push(pid);
    else children.set(parent, [pid]);
  }
  const tree = statOf(root) ? [root] : [];
  for (let i = 0; i < tree.length; i++) tree.push(...(children.get(tree[i]!) ?? []));
  return tree;
}
