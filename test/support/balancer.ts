// One address in front of the nodes of a test. Each new connection goes to the next node that takes it, so what a test does with one
// operation falls on different nodes, and what a test asks about all of them can be asked of each.
import type { TestContext } from 'node:test';
import { cleanUp } from './cleanup.ts';
import { tcpProxy } from './tcp-proxy.ts';

export interface Balancer {
  readonly url: string;
  readonly port: number;
  /** Sends every connection from now on to one of these ports of this machine. */
  to(ports: readonly number[]): void;
}

interface Known extends Balancer {
  nodes: readonly string[];
}

const balancers = new Map<string, Known>();

/** A balancer that lives as long as the test. With the port of one that there is already: that one. */
export async function balancerFor(t: TestContext, port = 0): Promise<Balancer> {
  const known = balancers.get(`http://127.0.0.1:${port}`);
  if (known) return known;
  const proxy = await tcpProxy(t, { targets: [] });
  const url = `http://127.0.0.1:${proxy.port}`;
  const balancer: Known = {
    url,
    port: proxy.port,
    nodes: [],
    to(ports) {
      balancer.nodes = ports.map((one) => `http://127.0.0.1:${one}`);
      proxy.to(ports);
    },
  };
  balancers.set(url, balancer);
  // The port may be given to something else then.
  cleanUp(t, () => balancers.delete(url));
  return balancer;
}

/** The nodes' own URLs behind this one; itself where it is a node's own. */
export const nodesBehind = (url: string): readonly string[] => balancers.get(url)?.nodes ?? [url];
