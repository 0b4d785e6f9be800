// What a client sends to a server, seen by a proxy in between that changes nothing, upgrades included.
import type { TestContext } from 'node:test';
import { tcpProxy } from './tcp-proxy.ts';

export interface SeenThrough {
  readonly url: string;
  /** Requests so far, as `METHOD path`; an upgrade is one, and what follows it is none. */
  readonly seen: readonly string[];
}

export async function seenThrough(t: TestContext, server: string): Promise<SeenThrough> {
  const seen: string[] = [];
  const inspect = () => (chunk: Buffer) => {
    const line = /^([A-Z]+ \S+) HTTP\/1\.1\r\n/.exec(chunk.toString('latin1'));
    if (line) seen.push(line[1]!);
    return undefined;
  };
  const proxy = await tcpProxy(t, { to: Number(new URL(server).port), inspect });
  return { url: `http://127.0.0.1:${proxy.port}`, seen };
}
