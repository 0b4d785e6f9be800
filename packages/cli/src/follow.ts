// Waits for an operation's result with a person watching: what `submit --wait` and `result --wait` have in common.
import { type Operation, type ResultOutcome, WaitlessError, type WaitlessClient } from '@waitless/client';
import type { CommandContext } from './command.ts';
import { exitCodes, Failure } from './failure.ts';
import { createProgress } from './progress.ts';
import { commandLine, span } from './text.ts';

export interface Following {
  client: WaitlessClient;
  id: string;
  /** Infinity to wait as long as it takes. */
  waitMs: number;
  /** Words that lead other commands to the same server. */
  connection: readonly string[];
}

/** The most a timer holds (2^31-1 ms); a longer one would fire at once. */
const longestTimerMs = 2_147_483_647;

/**
 * The result once there is one. Throws Failure when the time is up or Ctrl-C was pressed; the operation goes on by
 * itself and the sentence says how to come back to it.
 */
export async function followToResult(
  following: Following,
  context: CommandContext,
): Promise<Extract<ResultOutcome, { kind: 'result' }>> {
  const { client, id, waitMs } = following;
  const { terminal, output } = context;
  const comeBack = `Come back with: ${commandLine('result', id, '--wait', ...following.connection)}`;
  const look = `\`${commandLine('watch', id, ...following.connection)}\` follows it.`;
  const stop = new AbortController();
  const timer =
    waitMs <= longestTimerMs
      ? setTimeout(
          () => stop.abort(new Failure(`not done within ${span(waitMs)}; the operation goes on. ${comeBack}`)),
          waitMs,
        )
      : undefined;
  const unhear = terminal.onSignal(['SIGINT'], () =>
    stop.abort(new Failure(`the operation goes on without you; ${look} ${comeBack}`, exitCodes.interrupted)),
  );
  const progress = createProgress(terminal, output);
  let last: Operation | undefined;
  try {
    for await (const operation of client.watch(id, {
      signal: stop.signal,
      onRetry: (error) => progress.trouble(`${error.message} Trying again.`),
    })) {
      last = operation;
      progress.show(operation);
    }
    const outcome = await client.result(id, { signal: stop.signal, waitSeconds: 50 });
    if (outcome.kind === 'result') return outcome;
    throw new Failure(`the operation has ended but its result is not there yet. ${comeBack}`);
  } catch (error) {
    if (error instanceof WaitlessError && error.retry) throw new Failure(`${error.message} ${comeBack}`);
    throw error;
  } finally {
    progress.end();
    unhear();
    clearTimeout(timer);
    if (last?.done && output.attended)
      output.note(
        `${output.err.dim(`${last.status} after ${span(Date.parse(last.finishedAt ?? last.updatedAt) - Date.parse(last.createdAt))}`)}`,
      );
  }
}
