// A pull worker: takes work as it has room for it, runs the handler, and hands the answers in. Over a WebSocket of its own, on which the server keeps
// its places filled; where none comes through by long-polling, the answers together with the next request for work.
import type { Lease, WaitlessError } from '@waitless/protocol';
import { pauseMs } from './backoff.ts';
import { type HeldLease, holdLease, type LeaseCalls } from './held-lease.ts';
import { failureOf, type Handler, type Job, settlementOf, type Verdict } from './job.ts';
import { isLoss } from './keep-lease.ts';
import { answerAlone, extendLease, refusalOf, reportProgress, takeLeases } from './leases.ts';
import { persist } from './persist.ts';
import { isTransient, type Settling, takeSettlements } from './settling.ts';
import type { Seams } from './seams.ts';
import type { Dial } from './socket.ts';
import { stopping } from './stopping.ts';
import { pollSeconds } from './watch.ts';
import type { Wire } from './wire.ts';
import { answerFrame, createWorkLine, fitsTheLine, isNobodys, mostOnTheLine } from './work-line.ts';
import { readOptions, type WorkerOptions } from './worker-options.ts';

export interface Worker {
  readonly name: string;
  /** Resolves when the worker has stopped; rejects when it cannot go on, as with a wrong key or an unknown service. */
  readonly done: Promise<void>;
  /**
   * Takes no more work, lets running handlers end for up to `graceSeconds` (25 by default), delivers their answers and
   * gives the rest back. Resolves or rejects with `done`.
   */
  stop(options?: { graceSeconds?: number | undefined }): Promise<void>;
}

/** Starts a worker at once. */
export function work(
  { wire, dial, seams }: { wire: Wire; dial: Dial | undefined; seams: Seams },
  { service, handler, options }: { service: string; handler: Handler; options: WorkerOptions },
): Worker {
  const { name, concurrency, most, leaseSeconds } = readOptions({ service }, options, seams);
  const { onRetry } = options;
  /** In a turn of its own: what the caller's code throws is for the caller's process to hear, and no reason to lose a job. */
  const onFailure = (error: unknown, job: Job): void =>
    void Promise.resolve().then(() => options.onFailure?.(error, job));

  const running = new Set<HeldLease>();
  /** Of `running`, those that came over the line as it is now. */
  const onLine = new WeakSet<HeldLease>();
  /** Answers that wait for the next request. */
  let answers: Settling[] = [];
  /** Room that requests under way may fill. */
  let asked = 0;
  let polling = false;
  let settling = false;
  let settleFailures = 0;
  let turnQueued = false;
  const end = stopping(
    { who: 'worker', signal: options.signal },
    {
      turn,
      giveBack(reason) {
        for (const held of running) {
          held.abandon(reason);
          hand({ held, verdict: { kind: 'release' } });
        }
        running.clear();
      },
      closed: () => line.stop(),
    },
  );
  const { taking, closing } = end;

  const line = createWorkLine(
    { wire, dial: options.webSocket === false ? undefined : dial, seams },
    { service, worker: name, leaseSeconds },
    {
      opened: queueTurn,
      closed() {
        // The server gives back what was held over a line that it saw end; what is held no more is not worth going on with.
        for (const held of running) {
          if (onLine.delete(held)) held.check();
        }
      },
      away: (error, ms) => onRetry?.(error, ms),
      refused: queueTurn,
      lease: (lease) => begin(lease, true),
      noWork(error) {
        if (!error.retry) return end.failForGood(error);
        const ms = pauseMs({ failures: 5, random: seams.random, retryAfterSeconds: error.retryAfterSeconds });
        onRetry?.(error, ms);
        return void seams.sleep(ms, taking).then(
          () => line.room(places()),
          () => {},
        );
      },
    },
  );

  /** What the line may fill: all that is not taken up by work that came another way. */
  function places(): number {
    let others = 0;
    for (const held of running) if (!onLine.has(held)) others++;
    return taking.aborted ? 0 : Math.max(0, concurrency - others);
  }

  /** Starts what there is to do: a request that settles, or else one that waits for work. */
  function turn(): void {
    if (line.open || taking.aborted) {
      for (const answer of answers.splice(0)) hand(answer);
      return line.room(places());
    }
    if (line.promising && !polling && !settling) {
      line.start();
      if (line.promising) {
        for (const answer of answers.splice(0)) deliver(answer);
        return;
      }
    }
    const room = Math.min(most, concurrency - running.size - asked);
    if (answers.length > 0) {
      if (settling) return;
      const { together, alone } = takeSettlements(answers);
      answers = answers.slice(together.length + alone.length);
      for (const answer of alone) deliver(answer);
      if (together.length > 0 && room > 0) end.telling(settle(together, room));
      else for (const answer of together) deliver(answer);
      if (answers.length > 0) queueTurn();
    } else if (!polling && !settling && room > 0) end.telling(poll(room));
  }

  /** In a turn of its own, so that answers which come together travel together. */
  function queueTurn(): void {
    if (turnQueued) return;
    turnQueued = true;
    setTimeout(() => {
      turnQueued = false;
      turn();
    }, 0);
  }

  /** Waits for work; held by the server, so nothing that has an answer to tell may wait for it. */
  async function poll(room: number): Promise<void> {
    polling = true;
    asked += room;
    try {
      const wanted = { worker: name, max: room, waitSeconds: pollSeconds, leaseSeconds, signal: taking };
      const { leases } = await persist(() => takeLeases(wire, service, wanted), { signal: taking, onRetry }, seams);
      for (const lease of leases) begin(lease, false);
    } catch (error) {
      if (!taking.aborted) end.failForGood(error);
    } finally {
      polling = false;
      asked -= room;
      queueTurn();
    }
  }

  /** Hands answers in and takes what work there is, without waiting for any. */
  async function settle(together: Settling[], room: number): Promise<void> {
    settling = true;
    asked += room;
    let pause: WaitlessError | undefined;
    try {
      const settle = together.map(({ held, verdict }) => settlementOf(held.token, verdict));
      const wanted = { worker: name, max: room, leaseSeconds, settle, signal: closing };
      const { settled, leases } = await takeLeases(wire, service, wanted);
      for (const lease of leases) begin(lease, false);
      for (const [index, answer] of together.entries()) {
        const refused = settled[index] && refusalOf(settled[index]);
        if (refused && isTransient(refused)) answers.push(answer);
        else close(answer, refused);
        if (refused && isTransient(refused)) pause = refused;
      }
    } catch (error) {
      if (isTransient(error)) {
        pause = error;
        answers.unshift(...together);
      }
      // One answer that the server does not take must not keep the others from arriving.
      else for (const answer of together) deliver(answer);
    } finally {
      asked -= room;
    }
    if (pause) {
      const ms = pauseMs({
        failures: settleFailures++,
        random: seams.random,
        retryAfterSeconds: pause.retryAfterSeconds,
      });
      onRetry?.(pause, ms);
      await seams.sleep(ms, taking).catch(() => {});
    } else settleFailures = 0;
    settling = false;
    queueTurn();
  }

  function begin(lease: Lease, overLine: boolean): void {
    let held: HeldLease;
    const { token } = lease;
    const calls: LeaseCalls = {
      extend: (signal) =>
        onLine.has(held)
          ? line.tell({ type: 'extend', token, leaseSeconds })
          : extendLease(wire, { token, leaseSeconds }, signal),
      progress: (report, signal) =>
        onLine.has(held) && fitsTheLine(report)
          ? line.tell({ ...report, type: 'progress', token })
          : reportProgress(wire, { token, report }, signal),
    };
    try {
      held = holdLease(calls, { lease, leaseSeconds, handler, onFailure }, seams);
      if (overLine) onLine.add(held);
    } catch (error) {
      // Work that cannot even be read fails by itself, and does not take the worker along.
      return end.telling(
        tellAlone(token, failureOf(error))
          .catch(() => {})
          .finally(() => overLine && line.free(token)),
      );
    }
    if (taking.aborted) return hand({ held, verdict: { kind: 'release' } });
    running.add(held);
    const run = held.run().then((verdict) => {
      running.delete(held);
      if (verdict && !closing.aborted) answers.push({ held, verdict });
      else {
        held.end();
        free(held);
      }
      queueTurn();
    });
    end.handling(run);
  }

  /** What was not answered over the line takes up no place on it any more. */
  function free(held: HeldLease): void {
    if (onLine.has(held)) line.free(held.token);
  }

  /** Tells one answer the way that its work came, or by itself where that is gone. */
  function hand(answer: Settling): void {
    const { held, verdict } = answer;
    if (!line.open || !onLine.has(held) || (verdict.kind === 'reply' && verdict.body.length > mostOnTheLine))
      return deliver(answer);
    const telling = line.tell(answerFrame(held.token, verdict)).then(
      () => close(answer, undefined),
      (error: unknown) => (isLoss(error) ? close(answer, error) : deliver(answer)),
    );
    return end.telling(telling);
  }

  function tellAlone(token: string, verdict: Verdict): Promise<void> {
    return persist(
      () => answerAlone(wire, { service, worker: name, token, verdict }, closing),
      { signal: closing, onRetry },
      seams,
    );
  }

  /** Tells one answer by itself, until the server has said something definite about it. */
  function deliver(answer: Settling): void {
    const { held, verdict } = answer;
    // What nobody keeps is known to the line alone, and gone with it.
    if (isNobodys(held.token)) return close(answer, undefined);
    const telling = tellAlone(held.token, verdict)
      .catch((error: unknown) => {
        if (closing.aborted || isLoss(error) || verdict.kind !== 'reply') throw error;
        // The reply itself is refused, as one that is too large is: the client shall hear of that, and not wait for the lease to run out.
        const { code, message } = error as WaitlessError;
        onFailure(error, held.job);
        return tellAlone(held.token, { kind: 'fail', fail: { code, message: message.slice(0, 2000), retry: false } });
      })
      .then(
        () => close(answer, undefined),
        (error: unknown) => close(answer, error),
      )
      .finally(() => {
        free(held);
        queueTurn();
      });
    return end.telling(telling);
  }

  function close({ held, verdict }: Settling, refused: unknown): void {
    held.end();
    if (refused !== undefined && verdict.kind !== 'release') onFailure(refused, held.job);
  }

  queueTurn();
  return { name, done: end.done, stop: end.stop };
}
