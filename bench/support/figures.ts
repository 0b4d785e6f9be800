// What a row hands back and how it is judged and printed: median and range of every figure beside its target.
import { loadColumns } from './load-figures.ts';
import { median } from './statistics.ts';

export interface Figure {
  row: string;
  /** Line of the table within the row, such as "64 in flight". */
  case: string;
  /** What was measured, such as "accepted". */
  what: string;
  unit: string;
  /** One per run. */
  values: readonly number[];
  /** What the median has to reach. */
  target?: { atLeast: number } | { atMost: number } | { below: number };
  note?: string;
  /** Why there are no values. */
  skipped?: string;
}

export interface JudgedFigure extends Figure {
  median: number | null;
  min: number | null;
  max: number | null;
  met: boolean | null;
}

export function judge(figure: Figure): JudgedFigure {
  if (figure.values.length === 0) return { ...figure, median: null, min: null, max: null, met: null };
  const middle = median(figure.values);
  return {
    ...figure,
    median: middle,
    min: Math.min(...figure.values),
    max: Math.max(...figure.values),
    met: figure.target ? meets(middle, figure.target) : null,
  };
}

function meets(value: number, target: NonNullable<Figure['target']>): boolean {
  if ('atLeast' in target) return value >= target.atLeast;
  return 'atMost' in target ? value <= target.atMost : value < target.below;
}

function number(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return value
    .toPrecision(3)
    .replace(/^(\d+\.\d*?)0+$/, '$1')
    .replace(/\.$/, '');
}

const target = ({ target: t }: Figure): string =>
  !t
    ? ''
    : 'atLeast' in t
      ? `>= ${number(t.atLeast)}`
      : 'atMost' in t
        ? `<= ${number(t.atMost)}`
        : `< ${number(t.below)}`;

function valueText(figure: JudgedFigure): string {
  if (figure.skipped !== undefined) return 'skipped';
  if (figure.median === null) return '-';
  const range = figure.values.length > 1 ? ` (${number(figure.min!)} to ${number(figure.max!)})` : '';
  return number(figure.median) + range;
}

const targetText = (figure: JudgedFigure): string =>
  figure.target ? ` [${target(figure)}: ${figure.met === null ? '?' : figure.met ? 'met' : 'MISSED'}]` : '';

function lines(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]!.length)));
  const text = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`;
  return [text(head), text(widths.map((width) => '-'.repeat(width))), ...rows.map(text)].join('\n');
}

/** Aligned text that is Markdown as well: what belongs to a load in one line per case, everything else in a line of its own. */
export function tables(figures: readonly JudgedFigure[]): string {
  const ofLoad = (figure: Figure): boolean => loadColumns.some(({ what }) => what === figure.what);
  const loads = Map.groupBy(figures.filter(ofLoad), (figure) => `${figure.row}\0${figure.case}`);
  const others = figures.filter((figure) => !ofLoad(figure));
  const parts: string[] = [];
  if (others.length > 0) {
    const rows = others.map((f) => [
      f.row,
      f.case,
      f.what,
      `${valueText(f)}${f.unit === '' ? '' : ` ${f.unit}`}${targetText(f)}`,
      f.skipped ?? f.note ?? '',
    ]);
    parts.push(lines(['row', 'case', 'figure', 'median (min to max) [target]', 'note'], rows));
  }
  if (loads.size > 0) {
    const columns = loadColumns.filter(({ what }) => figures.some((figure) => figure.what === what));
    const rows = Array.from(loads.values(), (group) => [
      group[0]!.row,
      group[0]!.case,
      ...columns.map(({ what }) =>
        group
          .filter((f) => f.what === what)
          .map((f) => valueText(f) + targetText(f))
          .join(),
      ),
    ]);
    parts.push(lines(['row', 'case', ...columns.map(({ what, unit }) => `${what}, ${unit}`)], rows));
  }
  return parts.join('\n\n');
}
