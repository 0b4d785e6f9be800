// The processes of a benchmark: each is ended by its own pid, whatever happens.
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

export interface Child {
  pid: number;
  process: ChildProcess;
  exited: Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Whom a process runs as; its own user by default. */
export interface Account {
  uid: number;
  gid: number;
}

/** After SIGTERM; what has not ended by then is killed. Longer than the server's own 25 s would make a hang look like work. */
const graceMs = 10_000;

export class Children {
  readonly #running = new Set<Child>();

  #keep(started: ChildProcess): Child {
    // A command that is not there has no pid; its event would otherwise end this process.
    started.once('error', () => {});
    if (started.pid === undefined) throw new Error(`could not start ${started.spawnfile}`);
    // Not `exit`: what hangs on a process (strace, which has yet to write its file) holds its streams open a moment longer.
    const exited = new Promise<void>((resolve) => started.once('close', () => resolve()));
    const child: Child = {
      pid: started.pid,
      process: started,
      exited,
      async stop(signal = 'SIGKILL') {
        started.kill(signal);
        const timer = setTimeout(() => started.kill('SIGKILL'), graceMs);
        await exited;
        clearTimeout(timer);
      },
    };
    this.#running.add(child);
    void exited.then(() => this.#running.delete(child));
    return child;
  }

  /** A TypeScript file of this folder as a process with a channel for messages. */
  fork(file: string, args: readonly string[] = []): Child {
    return this.#keep(fork(new URL(file, import.meta.url), args, { serialization: 'advanced' }));
  }

  /** Any command; its stderr goes to `logFile`, its stdout is a pipe. */
  spawn(
    command: string,
    args: readonly string[],
    { logFile, env, account, folder }: { logFile: string; env: NodeJS.ProcessEnv; account?: Account; folder?: string },
  ): Child {
    const log = openSync(logFile, 'a');
    try {
      return this.#keep(spawn(command, args, { env, stdio: ['ignore', 'pipe', log], cwd: folder, ...account }));
    } finally {
      closeSync(log);
    }
  }

  async stopAll(): Promise<void> {
    await Promise.all(Array.from(this.#running, (child) => child.stop()));
  }
}

/** The first message of a forked process; rejects when it ends without one. */
export function firstMessage<T>(child: Child, name: string): Promise<T> {
  return new Promise((resolve, reject) => {
    child.process.once('message', (message) => resolve(message as T));
    void child.exited.then(() => reject(new Error(`${name} ended before it was ready`)));
  });
}

/** First match of `pattern` in what a process prints; rejects with its log when it ends without one. */
export function firstPrinted(
  child: Child,
  { pattern, logFile, name }: { pattern: RegExp; logFile: string; name: string },
): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let printed = '';
    let found = false;
    child.process.stdout!.setEncoding('utf8').on('data', (text: string) => {
      // Read on for ever, so that a full pipe never holds up the process.
      if (found) return;
      printed += text;
      const match = pattern.exec(printed);
      if (!match) return;
      found = true;
      resolve(match);
    });
    void child.exited.then(() =>
      reject(new Error(`${name} ended before it was ready:\n${printed}${readFileSync(logFile, 'utf8').slice(-2000)}`)),
    );
  });
}
