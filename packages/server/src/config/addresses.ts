// Which addresses are this machine's own and which lie in a range the operator named.
import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Zone ids (`fe80::1%eth0`) name an interface of one machine and have no place in a range. */
function family(address: string): 'ipv4' | 'ipv6' | undefined {
  if (address.includes('%')) return undefined;
  const version = isIP(address);
  return version === 4 ? 'ipv4' : version === 6 ? 'ipv6' : undefined;
}

/**
 * Whether only this machine can reach the address. A name other than `localhost` counts as reachable from outside
 * even when it resolves to loopback today: what a name means can change without a restart.
 */
export function isLoopback(host: string): boolean {
  const kind = family(host);
  return kind === undefined ? host.toLowerCase() === 'localhost' : loopback.check(host, kind);
}

export interface AddressRange {
  readonly address: string;
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

/** `10.0.0.0/8`, `fd00::/8` or a single address; undefined when it is none of them. */
export function parseRange(text: string): AddressRange | undefined {
  const [address = '', bits, ...more] = text.split('/');
  const kind = family(address);
  if (kind === undefined || more.length > 0) return undefined;
  const widest = kind === 'ipv4' ? 32 : 128;
  if (bits === undefined) return { address, prefix: widest, family: kind };
  const prefix = /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  return prefix <= widest ? { address, prefix, family: kind } : undefined;
}

/** A check of whether an address lies in one of the ranges, an IPv4 one written as `::ffff:10.0.0.1` included. */
export function addressMatcher(ranges: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const text of ranges) {
    const range = parseRange(text);
    if (range === undefined) throw new TypeError(`not an address range: ${text}`);
    list.addSubnet(range.address, range.prefix, range.family);
  }
  return (address) => {
    const kind = family(address);
    return kind !== undefined && list.check(address, kind);
  };
}

export interface OwnPlaces {
  /** URL of the listener; empty before it listens. */
  listening: () => string;
  /** Other URLs that lead to this server, by the configuration. */
  known: readonly (string | undefined)[];
}

const portOf = ({ port, protocol }: URL): number => (port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port));
const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');

/** A check of whether a host and port are this server: as it is known, or where it listens, on every address of the machine where it listens on all. */
export function ownMatcher({ listening, known }: OwnPlaces): (host: string, port: number, path?: string) => boolean {
  const named = known.filter((url) => url !== undefined).map((url) => new URL(url));
  return (host, port, path = '/') => {
    // Behind a gateway other paths of the same host are others.
    const isBelow = ({ pathname }: URL): boolean => `${path}/`.startsWith(pathname.replace(/\/*$/, '/'));
    if (named.some((url) => portOf(url) === port && hostOf(url) === host && isBelow(url))) return true;
    const own = listening() === '' ? undefined : new URL(listening());
    if (own === undefined || portOf(own) !== port) return false;
    if (hostOf(own) === host) return true;
    if (hostOf(own) !== '0.0.0.0' && hostOf(own) !== '::') return false;
    if (isLoopback(host) || host === '0.0.0.0' || host === '::') return true;
    return Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === host));
  };
}
