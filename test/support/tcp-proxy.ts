// A loopback TCP proxy with the faults of a network: what is behind it can be slow, silent, unreachable, or cut off in the middle of a message.
// With several targets it is a load balancer: each new connection goes to the next one that takes it.
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { cleanUp } from './cleanup.ts';
import { freePort } from './free-port.ts';

/**
 * `forward`: as if it were not there.
 * `hold`: nothing passes, and all of it later, in order, as after a partition that heals: connections, bytes and ends.
 * `black-hole`: connections are taken and bytes swallowed, without an answer. A connection that lost a byte stays silent for ever, on both sides.
 * `refuse`: new connections are refused; those there are go on. `reset` ends those.
 */
export type ProxyMode = 'forward' | 'hold' | 'black-hole' | 'refuse';

/** How a connection ends in the middle: `pass` bytes of the chunk still reach the target, then the client sees a reset, or nothing any more. */
export interface Cut {
  pass: number;
  ending: 'reset' | 'silence';
}

/** Sees what a client sends on one connection before it is passed on. */
export type Inspect = (chunk: Buffer) => Cut | undefined;

export interface ProxySettings {
  /** Port of the only target. */
  to?: number;
  /** Ports of several. */
  targets?: readonly number[];
  /** Called for each connection. */
  inspect?: () => Inspect;
}

export interface TcpProxy {
  readonly port: number;
  readonly mode: ProxyMode;
  /** How long each byte is under way. */
  readonly delayMs: { toTarget: number; toClient: number };
  /** Connections that are open now. */
  readonly connections: number;
  /** Bytes that silent connections have lost so far, both ways. */
  readonly swallowed: number;
  /** Resolves when the mode holds. */
  set(mode: ProxyMode): Promise<void>;
  /** New connections go to these ports from now on. */
  to(targets: readonly number[]): void;
  /** Ends all connections that are open now, by a reset on both sides. */
  reset(): void;
}

interface Link {
  client: Socket;
  target: Socket | undefined;
  /** Bytes were swallowed: nothing may pass any more. */
  silent: boolean;
}

/** Bytes that may be under way on one connection and direction: a slow reader is felt at the other end. */
const windowBytes = 65_536;

/** Nobody hears of its errors but the one who reads it. */
const quiet = (socket: Socket): Socket => socket.on('error', () => {});

async function dial(port: number): Promise<Socket | undefined> {
  const socket = quiet(connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true }));
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(socket));
    socket.once('close', () => resolve(undefined));
  });
}

/** A proxy that is gone when the test has ended. */
export async function tcpProxy(t: TestContext, settings: ProxySettings): Promise<TcpProxy> {
  const port = await freePort();
  const delayMs = { toTarget: 0, toClient: 0 };
  const links = new Set<Link>();
  let targets = settings.targets ?? (settings.to === undefined ? [] : [settings.to]);
  let next = 0;
  let swallowed = 0;
  let mode: ProxyMode = 'forward';
  let opened = Promise.withResolvers<void>();
  opened.resolve();

  /** The next target that takes a connection. */
  async function reach(): Promise<Socket | undefined> {
    for (const _ of targets) {
      const socket = await dial(targets[next++ % targets.length]!);
      if (socket) return socket;
    }
    return undefined;
  }

  function end(link: Link): void {
    links.delete(link);
    link.client.resetAndDestroy();
    link.target?.resetAndDestroy();
  }

  /** False for a connection that is silent, which it becomes by what it sends while there is a black hole. */
  function passes(link: Link): boolean {
    if (mode === 'black-hole') link.silent = true;
    return !link.silent;
  }

  /** Carries one direction until its sender ends it. */
  async function carry(link: Link, way: 'toTarget' | 'toClient', inspect?: Inspect): Promise<void> {
    const [from, to] = way === 'toTarget' ? [link.client, link.target!] : [link.target!, link.client];

    async function send(chunk: Buffer, dueAt: number): Promise<void> {
      const early = dueAt - performance.now();
      // A timer forgets fractions.
      if (early > 0) await pause(Math.ceil(early));
      await opened.promise;
      if (!passes(link)) return void (swallowed += chunk.length);
      const cut = inspect?.(chunk);
      // From here on no answer passes.
      if (cut) link.silent = true;
      const passing = cut ? chunk.subarray(0, cut.pass) : chunk;
      const failure = await new Promise((resolve) => to.write(passing, resolve));
      if (cut?.ending === 'reset') {
        links.delete(link);
        from.resetAndDestroy();
        // No reset on this side: the target is to read what was passed.
        to.destroySoon();
      } else if (failure && !cut) end(link);
    }

    let sent = Promise.resolve();
    let underWay = 0;
    let aborted = false;
    try {
      for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        const dueAt = performance.now() + delayMs[way];
        underWay += chunk.length;
        sent = sent.then(() => send(chunk, dueAt)).then(() => void (underWay -= chunk.length));
        if (underWay > windowBytes) await sent;
      }
    } catch {
      aborted = true;
    }
    await sent;
    await opened.promise;
    if (!passes(link)) return;
    if (aborted) end(link);
    else to.end();
  }

  async function take(client: Socket): Promise<void> {
    const link: Link = { client: quiet(client), target: undefined, silent: false };
    links.add(link);
    await opened.promise;
    if (!passes(link)) return void client.on('data', (chunk) => (swallowed += chunk.length));
    link.target = await reach();
    if (!link.target || client.destroyed) return end(link);
    await Promise.all([carry(link, 'toTarget', settings.inspect?.()), carry(link, 'toClient')]);
    // The other side of a silent one has not been told, and is still there.
    if (!link.silent) links.delete(link);
  }

  let listener: Server | undefined;
  async function listen(): Promise<void> {
    listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => void take(client));
    listener.listen(port, '127.0.0.1');
    await once(listener, 'listening');
  }
  function refuse(): void {
    listener?.close();
    listener = undefined;
  }

  await listen();
  cleanUp(t, () => {
    refuse();
    for (const link of links) end(link);
  });
  return {
    port,
    delayMs,
    get mode() {
      return mode;
    },
    get connections() {
      return [...links].filter(({ client }) => !client.destroyed).length;
    },
    get swallowed() {
      return swallowed;
    },
    async set(wanted) {
      if (wanted === 'hold' && mode !== 'hold') opened = Promise.withResolvers();
      mode = wanted;
      if (wanted !== 'hold') opened.resolve();
      if (wanted === 'refuse') refuse();
      else if (!listener) await listen();
    },
    to: (ports) => void (targets = ports),
    reset: () => [...links].forEach(end),
  };
}
