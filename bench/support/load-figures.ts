// The figures that every kind of load has in common.
import type { Figure } from './figures.ts';

/** In the order of the columns; a load has those that make sense for it. */
export const loadColumns = [
  { key: 'perSecond', what: 'rate', unit: 'per s' },
  { key: 'cpuPer10k', what: 'server CPU per 10,000', unit: 's' },
  { key: 'nodeCpuPer10k', what: 'node CPU per 10,000', unit: 's' },
  { key: 'databaseCpuPer10k', what: 'database CPU per 10,000', unit: 's' },
  { key: 'p50', what: 'p50', unit: 'ms' },
  { key: 'p99', what: 'p99', unit: 'ms' },
] as const;

type LoadKey = (typeof loadColumns)[number]['key'];

export interface LoadSample {
  perSecond: number;
  /** Server CPU seconds per 10,000 answers. */
  cpuPer10k: number;
  p50: number;
  p99: number;
}

export type LoadTargets = { [K in LoadKey]?: NonNullable<Figure['target']> };

/** CPU seconds per 10,000 of something. */
export const per10k = (cpuSeconds: number, count: number): number => (cpuSeconds / count) * 1e4;

export const loadSample = (
  result: { perSecond: number; operations: number; p50: number; p99: number },
  serverCpu: number,
): LoadSample => ({
  perSecond: result.perSecond,
  cpuPer10k: per10k(serverCpu, result.operations),
  p50: result.p50,
  p99: result.p99,
});

export function loadFigures({
  row,
  name,
  samples,
  targets = {},
}: {
  row: string;
  name: string;
  samples: readonly Readonly<Partial<Record<LoadKey, number>>>[];
  targets?: LoadTargets;
}): Figure[] {
  return loadColumns
    .filter(({ key }) => samples.some((sample) => sample[key] !== undefined))
    .map(({ key, what, unit }) => {
      const target = targets[key];
      const values = samples.map((sample) => sample[key] ?? Number.NaN);
      return { row, case: name, what, unit, values, ...(target ? { target } : {}) };
    });
}
