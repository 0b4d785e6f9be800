// Where requests that callers of the API cause may go: public addresses, and the ranges the operator named. Judged by what is connected to, not by what is written.
import { lookup as systemLookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { BlockList, isIP, isIPv4 } from 'node:net';
import { WaitlessError } from '@waitless/protocol';

/** IPv4 ranges that are nobody's public address (IANA special-purpose registry). */
const closedIPv4 = new BlockList();
for (const [address, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const)
  closedIPv4.addSubnet(address, prefix, 'ipv4');

/** Of IPv6 only 2000::/3 is public at all; within it these are not. 2002::/16 is judged by the IPv4 address in it. */
const closedIPv6 = new BlockList();
for (const [address, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['3fff::', 20],
] as const)
  closedIPv6.addSubnet(address, prefix, 'ipv6');

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  // The URL parser writes one form for all: hexadecimal groups, at most one `::`.
  const text = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [head = '', tail] = text.split('::');
  const numbers = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const [before, after] = [numbers(head), tail === undefined ? [] : numbers(tail)];
  return [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
}

/** The IPv4 address that an IPv6 address leads to: mapped, translated, compatible, NAT64 or 6to4. */
function embeddedIPv4(groups: readonly number[]): string | undefined {
  const dotted = (high: number, low: number): string => [high >> 8, high & 255, low >> 8, low & 255].join('.');
  const [a, b, c, d, e, f, g, h] = groups as [number, number, number, number, number, number, number, number];
  const zero = (...some: number[]): boolean => some.every((group) => group === 0);
  if (zero(a, b, c, d, e) && (f === 0xffff || f === 0)) return dotted(g, h);
  if (zero(a, b, c, d) && e === 0xffff && f === 0) return dotted(g, h);
  if (a === 0x64 && b === 0xff9b && zero(c, d, e, f)) return dotted(g, h);
  return a === 0x2002 ? dotted(b, c) : undefined;
}

/** Whether anybody may be led to the address: a public one, however it is written. */
export function isPublicAddress(address: string): boolean {
  if (isIPv4(address)) return !closedIPv4.check(address, 'ipv4');
  if (isIP(address) !== 6 || address.includes('%')) return false;
  const groups = groupsOf(address);
  const inner = embeddedIPv4(groups);
  if (inner !== undefined) return isPublicAddress(inner);
  return groups[0]! >> 13 === 1 && !closedIPv6.check(address, 'ipv6');
}

export interface GuardOptions {
  /** Whether an address lies in a range that the operator named. */
  isAllowed: (address: string) => boolean;
  /** By default the system's resolver. */
  resolve?: (name: string) => Promise<LookupAddress[]>;
}

/** A resolver that says nothing for so long gets no more of the caller's time. */
const resolveMs = 5000;

type LookupCallback = (error: Error | null, address: string | LookupAddress[], family?: number) => void;

export interface AddressGuard {
  /** Throws 422 unless every address behind the URL may be connected to now. */
  check(url: string): Promise<void>;
  /** False for a URL whose host is an address that may not be connected to; of a name nothing is known before it is looked up. */
  fits(url: string): boolean;
  /** Like `dns.lookup`, for connections: gives vetted addresses alone, so what was judged is what is connected to. */
  readonly lookup: (name: string, options: LookupOptions, callback: LookupCallback) => void;
}

export const forbiddenTarget = 'target-forbidden';

const refusal = (): WaitlessError =>
  new WaitlessError(
    forbiddenTarget,
    'the target leads to an address that is not public; start the server with --allow-network for its range, or name the service in its config file',
    { members: { errors: [{ pointer: '/target/url', detail: 'leads to an address that is not public' }] } },
  );

const hostOf = (url: string): string => new URL(url).hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');

/** Names that mean something inside a machine or a network alone, whatever a resolver makes of them. */
const isLocalName = (name: string): boolean =>
  !name.includes('.') || /\.(localhost|local|internal|home\.arpa)$/i.test(name);

export function addressGuard({ isAllowed, resolve = resolveAll }: GuardOptions): AddressGuard {
  const allowed = (address: string): boolean => {
    if (isAllowed(address)) return true;
    const inner = isIP(address) === 6 && !address.includes('%') ? embeddedIPv4(groupsOf(address)) : undefined;
    return inner !== undefined && isAllowed(inner);
  };
  const may = (address: string): boolean => allowed(address) || isPublicAddress(address);

  async function vetted(name: string): Promise<LookupAddress[]> {
    const found = await resolve(name);
    const judge = isLocalName(name.replace(/\.$/, '')) ? allowed : may;
    if (found.length === 0 || !found.every(({ address }) => judge(address))) throw refusal();
    return found;
  }

  return {
    async check(url) {
      const host = hostOf(url);
      if (isIP(host) !== 0) {
        if (!may(host)) throw refusal();
        return;
      }
      try {
        await vetted(host);
      } catch (error) {
        if (error instanceof WaitlessError) throw error;
        throw new WaitlessError(
          forbiddenTarget,
          'the host of the target cannot be looked up, so nobody knows where it leads; mend its name or the DNS of this machine',
          { members: { errors: [{ pointer: '/target/url', detail: 'cannot be looked up' }] } },
        );
      }
    },
    fits: (url) => {
      const host = hostOf(url);
      return isIP(host) === 0 || may(host);
    },
    lookup(name, options, callback) {
      // oxlint-disable promise/no-callback-in-promise -- the shape of dns.lookup, which connections ask for
      void vetted(name).then(
        (found) => {
          if (options.all) return callback(null, found);
          const wanted = options.family === 4 || options.family === 6 ? options.family : 0;
          const one = found.find(({ family }) => wanted === 0 || family === wanted) ?? found[0]!;
          callback(null, one.address, one.family);
        },
        (error: Error) => callback(error, ''),
      );
      // oxlint-enable promise/no-callback-in-promise
    },
  };
}

function resolveAll(name: string): Promise<LookupAddress[]> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the lookup took too long')), resolveMs);
    systemLookup(name, { all: true }, (error, found) => {
      clearTimeout(timer);
      if (error) reject(error);
      else resolve(found);
    });
  });
}
