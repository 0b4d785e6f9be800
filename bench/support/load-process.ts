// The process that makes the load: closed loop (a caller sends when its last answer is there) or open loop (a fixed rate whatever happens).
import { HttpConnection, type HttpAnswer } from './http-connection.ts';
import type { LoadAnswer, LoadJob, LoadResult } from './load.ts';

/** How long to wait for the last answers after the end; a run without a time is bounded by `longestMs`. */
const drainMs = 60_000;
const longestMs = 600_000;
/** Failures after which a run is given up: it is void after the first, more only show whether they are alike. */
const mostFailures = 100;

interface Caller {
  connection: HttpConnection;
  sentAt: number;
}

class Samples {
  #values = new Float64Array(1 << 16);
  count = 0;

  add(value: number): void {
    if (this.count === this.#values.length) {
      const larger = new Float64Array(this.count * 2);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.count++] = value;
  }

  sorted(): Float64Array {
    return this.#values.slice(0, this.count).sort();
  }
}

class LoadRun {
  readonly #job: LoadJob;
  readonly #request: Buffer;
  readonly #expectedBody: Buffer | undefined;
  readonly #samples = new Samples();
  readonly #callers: Caller[] = [];
  /** Callers without a request, in an open loop. */
  readonly #idle: Caller[] = [];
  readonly #ended = Promise.withResolvers<void>();
  #endsAt = Number.POSITIVE_INFINITY;
  #left: number;
  #open = 0;
  #inTime = 0;
  #failures = 0;
  #firstFailure: string | undefined;

  constructor(job: LoadJob) {
    this.#job = job;
    this.#request = Buffer.from(job.request);
    this.#expectedBody = job.expect.body === undefined ? undefined : Buffer.from(job.expect.body, 'latin1');
    this.#left = job.count ?? Number.POSITIVE_INFINITY;
  }

  async run(): Promise<LoadResult> {
    const { port, connections, seconds, perSecond } = this.#job;
    const ports = [port].flat();
    for (let i = 0; i < connections; i++) {
      const caller = { sentAt: 0 } as Caller;
      caller.connection = await HttpConnection.open({
        port: ports[i % ports.length]!,
        onAnswer: (answer) => this.#answered(caller, answer),
        onBroken: (error) => this.#failed(error.message),
      });
      this.#callers.push(caller);
    }
    const usedBefore = process.cpuUsage();
    const started = performance.now();
    if (seconds !== undefined) this.#endsAt = started + seconds * 1000;
    if (perSecond === undefined) {
      for (const caller of this.#callers) this.#next(caller, performance.now());
    } else {
      this.#idle.push(...this.#callers);
      this.#keepPace(started, perSecond);
    }
    const timeout = setTimeout(() => this.#giveUp(), (seconds === undefined ? longestMs : seconds * 1000) + drainMs);
    await this.#ended.promise;
    clearTimeout(timeout);
    const took = (performance.now() - started) / 1000;
    const used = process.cpuUsage(usedBefore);
    for (const { connection } of this.#callers) connection.close();
    return {
      operations: this.#samples.count,
      perSecond: seconds === undefined ? this.#samples.count / took : this.#inTime / seconds,
      latenciesMs: this.#samples.sorted(),
      failures: this.#failures,
      firstFailure: this.#firstFailure,
      cpuSeconds: (used.user + used.system) / 1e6,
    };
  }

  /** Latency counts from the moment of sending; a timer of 1 ms makes that late by less than the rate's own interval. */
  #keepPace(started: number, perSecond: number): void {
    let sent = 0;
    const timer = setInterval(() => {
      const now = performance.now();
      if (now >= this.#endsAt) {
        clearInterval(timer);
        this.#left = 0;
        if (this.#open === 0) this.#ended.resolve();
        return;
      }
      for (; started + (sent * 1000) / perSecond <= now; sent++) {
        const caller = this.#idle.pop();
        if (caller) this.#next(caller, now);
        else this.#failed('no connection is free: the server does not keep up with this rate');
      }
    }, 1);
  }

  #next(caller: Caller, now: number): void {
    if (this.#left <= 0 || now >= this.#endsAt) {
      if (this.#open === 0) this.#ended.resolve();
      return;
    }
    this.#left--;
    this.#open++;
    caller.sentAt = now;
    caller.connection.send(this.#varied());
  }

  #varied(): Buffer {
    const { vary } = this.#job;
    if (!vary) return this.#request;
    // A copy: what was sent before may still be on its way out.
    const request = Buffer.from(this.#request);
    const digits = String(Math.floor(Math.random() * vary.below)).padStart(vary.digits, '0');
    if (typeof vary.at === 'number') request.write(digits, vary.at, 'latin1');
    else for (const at of vary.at) request.write(digits, at, 'latin1');
    return request;
  }

  #answered(caller: Caller, { status, body }: HttpAnswer): void {
    const now = performance.now();
    this.#open--;
    const { expect, perSecond } = this.#job;
    if (status === expect.status && (!this.#expectedBody || this.#expectedBody.equals(body))) {
      this.#samples.add(now - caller.sentAt);
      if (now <= this.#endsAt) this.#inTime++;
    } else {
      this.#failed(`${status} ${body.toString('utf8', 0, 300)}`);
    }
    if (perSecond === undefined) this.#next(caller, now);
    else if (this.#left > 0) this.#idle.push(caller);
    else if (this.#open === 0) this.#ended.resolve();
  }

  #failed(what: string): void {
    this.#firstFailure ??= what;
    if (++this.#failures >= mostFailures) this.#ended.resolve();
  }

  #giveUp(): void {
    this.#failed(`${this.#open} answers did not come in time`);
    this.#ended.resolve();
  }
}

process.on('message', (job: LoadJob) => {
  new LoadRun(job).run().then(
    (result) => process.send!({ result } satisfies LoadAnswer),
    (error: Error) => process.send!({ error: `the load could not be made: ${error.message}` } satisfies LoadAnswer),
  );
});
process.on('disconnect', () => process.exit(0));
process.send!('ready');
