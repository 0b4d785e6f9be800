// Shows a waiting person what an operation is doing: a live line on a terminal, one line per change of state or stage elsewhere.
import type { Operation } from '@waitless/client';
import cliProgress from 'cli-progress';
import { type Output, paint } from './output.ts';
import type { Terminal } from './terminal.ts';
import { plain, span } from './text.ts';

export interface Progress {
  show: (operation: Operation) => void;
  /** Leaves a line where people read on, above the live one. */
  leave: (line: string) => void;
  /** A passing trouble, such as a server that restarts; the next state removes it. */
  trouble: (text: string) => void;
  /** Takes the live line away. */
  end: () => void;
}

/** More and a slow terminal flickers; less and the seconds jump. */
const redrawsPerSecond = 8;

/** `running`, attempt, pause, stage and message in words. */
export function describe(operation: Operation, now: number): string {
  const { attempt, maxAttempts, runAt, progress } = operation;
  const startsIn = runAt === null ? 0 : Date.parse(runAt) - now;
  return [
    operation.status,
    operation.status === 'queued' && startsIn > 0 ? `starts in ${span(startsIn)}` : '',
    operation.status === 'queued' && operation.queuePosition !== null && operation.queuePosition > 0
      ? `${operation.queuePosition} ahead`
      : '',
    attempt > 1 ? `attempt ${attempt} of ${maxAttempts}` : '',
    operation.done ? '' : plain(progress?.stage ?? ''),
    operation.done ? '' : plain(progress?.message ?? ''),
  ]
    .filter((part) => part !== '')
    .join(', ');
}

/** The same with how far it is. */
export function describeWithPercent(operation: Operation, now: number): string {
  const percent = operation.progress?.percent;
  return `${describe(operation, now)}${percent === undefined || operation.done ? '' : `, ${Math.round(percent)} %`}`;
}

/** How much longer it takes, as the server reckons from what it has seen. */
export function remaining(operation: Operation, now: number): string {
  if (operation.done || operation.estimatedCompletionAt === null) return '';
  const ms = Date.parse(operation.estimatedCompletionAt) - now;
  return ms > 0 ? `about ${span(Math.max(1_000, ms))} left` : 'longer than usual';
}

/** Whether there can be a live line. A dumb terminal would show the control codes as text. */
export const isLive = ({ env }: Terminal, { attended }: Output): boolean => attended && env['TERM'] !== 'dumb';

export function createProgress(terminal: Terminal, output: Output): Progress {
  return isLive(terminal, output) ? liveLine(terminal, output) : plainLines(terminal, output);
}

function liveLine(terminal: Terminal, output: Output): Progress {
  const startedAt = terminal.now();
  let operation: Operation | undefined;
  let trouble = '';
  const bar = new cliProgress.SingleBar(
    {
      stream: terminal.stderr,
      fps: redrawsPerSecond,
      hideCursor: true,
      clearOnComplete: true,
      linewrap: false,
      barsize: 24,
      format(options, params) {
        const elapsed = span(terminal.now() - startedAt);
        if (operation === undefined) return `${elapsed}  ${trouble || 'looking it up'}`;
        const percent = operation.progress?.percent;
        const now = terminal.now();
        const parts = [paint(output.err, operation.status, trouble || describe(operation, now)), elapsed];
        const left = trouble === '' ? remaining(operation, now) : '';
        if (left !== '') parts.push(output.err.dim(left));
        if (percent !== undefined)
          parts.push(`${cliProgress.Format.BarFormat(params.progress, options)} ${Math.round(percent)} %`);
        return parts.join('  ');
      },
    },
    cliProgress.Presets.shades_classic,
  );
  bar.start(100, 0);
  return {
    show(next) {
      operation = next;
      trouble = '';
      bar.update(Math.min(100, Math.max(0, next.progress?.percent ?? 0)));
    },
    leave(line) {
      // Over the live line, which is drawn anew below.
      terminal.stderr.write('\r\u001b[K');
      output.line(line);
      bar.render();
    },
    trouble: (text) => (trouble = plain(text)),
    end: () => bar.stop(),
  };
}

function plainLines(terminal: Terminal, output: Output): Progress {
  let last = '';
  const say = (text: string): void => {
    if (text !== last) output.note(text);
    last = text;
  };
  return {
    show: (operation) => say(describeWithPercent(operation, terminal.now())),
    leave: output.line,
    trouble: (text) => say(plain(text)),
    end: () => undefined,
  };
}
