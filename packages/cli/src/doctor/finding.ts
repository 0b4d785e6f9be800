// What a check of `waitless doctor` found, and the one way in which checks look at the network.
import { connect } from 'node:net';

/** `note` is nothing wrong, but something that a person in trouble should know. */
export type FindingState = 'ok' | 'note' | 'wrong';

export interface Finding {
  readonly name: string;
  readonly state: FindingState;
  /** What is so; for `wrong` also what to do. */
  readonly text: string;
}

export const finding = (name: string, state: FindingState, text: string): Finding => ({ name, state, text });

/** Longer and a firewall that drops packets makes the doctor slow; shorter and a far host seems to be away. */
const patienceMs = 3_000;

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'the host name is not known',
  EAI_AGAIN: 'the host name cannot be looked up now',
  EHOSTUNREACH: 'there is no way to that host',
  ENETUNREACH: 'there is no way to that network',
  ETIMEDOUT: 'no answer in time',
};

/** Undefined when a connection can be opened, else why not. Nothing is sent. */
export function whyUnreachable({ host, port }: { host: string; port: number }): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: patienceMs });
    const done = (why: string | undefined): void => {
      socket.destroy();
      resolve(why);
    };
    socket.once('connect', () => done(undefined));
    socket.once('timeout', () => done(reasons['ETIMEDOUT']));
    socket.once('error', (error: NodeJS.ErrnoException) => done(reasons[error.code ?? ''] ?? error.message));
  });
}

/** Host and port of a URL, with the port of its scheme where it names none. */
export function addressOf(url: string, defaultPort?: number): { host: string; port: number } {
  const { hostname, port, protocol } = new URL(url);
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? (defaultPort ?? (protocol === 'https:' ? 443 : 80)) : Number(port),
  };
}
