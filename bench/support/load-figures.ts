// The four figures that every kind of load has in common.
import type { Figure } from './figures.ts';

export interface LoadSample {
  perSecond: number;
  /** Server CPU seconds per 10,000 answers. */
  cpuPer10k: number;
  p50: number;
  p99: number;
}

export type LoadTargets = { [K in keyof LoadSample]?: Figure['target'] };

export const loadColumns = [
  { key: 'perSecond', what: 'rate', unit: 'per s' },
  { key: 'cpuPer10k', what: 'server CPU per 10,000', unit: 's' },
  { key: 'p50', what: 'p50', unit: 'ms' },
  { key: 'p99', what: 'p99', unit: 'ms' },
] as const;

export const loadSample = (
  result: { perSecond: number; operations: number; p50: number; p99: number },
  serverCpu: number,
): LoadSample => ({
  perSecond: result.perSecond,
  cpuPer10k: (serverCpu / result.operations) * 1e4,
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
  samples: readonly LoadSample[];
  targets?: LoadTargets;
}): Figure[] {
  return loadColumns.map(({ key, what, unit }) => {
    const target = targets[key];
    return { row, case: name, what, unit, values: samples.map((sample) => sample[key]), ...(target ? { target } : {}) };
  });
}
