// Two things measured in turn, as one figure: how they compare is steadier than either of them.
import type { Figure } from './figures.ts';
import { median } from './statistics.ts';

/** Ratio of the medians; the note says how far single pairs are from it. */
export function ratioFigure({
  of,
  to,
  target,
  ...figure
}: Pick<Figure, 'row' | 'case' | 'what'> & {
  of: readonly number[];
  to: readonly number[];
  target?: NonNullable<Figure['target']>;
}): Figure {
  const pairs = of.map((value, i) => value / to[i]!);
  return {
    ...figure,
    unit: '',
    values: [median(of) / median(to)],
    note: `of medians; pair by pair ${Math.min(...pairs).toFixed(2)} to ${Math.max(...pairs).toFixed(2)}`,
    ...(target ? { target } : {}),
  };
}
