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

/** Where other protocols than HTTP listen, or doors that ask for no credential: what one can be made to send there is a command to somebody. */
const closedPorts: ReadonlySet<number> = new Set(
  `1433 1521 1719 1720 1723 2049 2181 2375 2376 2379 2380 3306 3389 3659 4045 4190 4369 5060 5061 5432 5672 5900 6000 6379
   6566 6665 6666 6667 6668 6669 6679 6697 9042 9092 9200 9300 10080 10250 10255 11211 26379 27017 27018 27019 61616`
    .split(/\s+/)
    .map(Number),
);

const portOf = ({ port, protocol }: URL): number => (port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port));

/** Below 1024 the two of HTTP alone. */
export const isOpenPort = (port: number): boolean =>
  port === 80 || port === 443 || (port >= 1024 && !closedPorts.has(port));

export interface GuardOptions {
  /** Whether an address lies in a range that the operator named. */
  isAllowed: (address: string) => boolean;
  /** Whether this server itself is there: a target that leads back would call itself without end. */
  isOwn?: (host: string, port: number, path?: string) => boolean;
  /** By default the system's resolver. */
  resolve?: ((name: string) => Promise<LookupAddress[]>) | undefined;
}

/** A resolver that says nothing for so long gets no more of the caller's time. */
const resolveMs = 5000;

type LookupCallback = (error: Error | null, address: string | LookupAddress[], family?: number) => void;

export interface AddressGuard {
  /** Throws 422 unless every address behind the URL may be connected to now. */
  check(url: string, place?: Place): Promise<void>;
  /** False for a URL that is refused as it stands; of a name nothing more is known before it is looked up. */
  fits(url: string): boolean;
  /** Like `dns.lookup`, for connections: gives vetted addresses alone, so what was judged is what is connected to. */
  readonly lookup: (name: string, options: LookupOptions, callback: LookupCallback) => void;
  /** The last look, at a connection that stands: an error where it must not be used. */
  refusalOf(socket: { remoteAddress?: string | undefined; remotePort?: number | undefined }): Error | undefined;
}

export const forbiddenTarget = 'target-forbidden';

/** What callers of the API name. */
export type Place = 'target' | 'callback' | 'subscription';

const forbidden = (place: Place, detail: string, { what, mend }: { what: string; mend: string }): WaitlessError => {
  if (place === 'callback')
    return new WaitlessError('callback-url-forbidden', `the ${what} of Callback-Url ${detail}; ${mend}`, {
      members: { accepted: false },
    });
  const isService = place === 'target';
  return new WaitlessError(
    isService ? forbiddenTarget : 'callback-url-forbidden',
    `the ${what} of the target ${detail}; ${mend}${isService ? ', or name the service in the config file' : ''}`,
    {
      members: {
        errors: [{ pointer: '/target/url', detail: what === 'host' ? detail : `has a ${what} that ${detail}` }],
      },
    },
  );
};

/** One text for every reason that shows only by looking, so that nobody learns which names and addresses there are. */
const refusal = (place: Place = 'target'): WaitlessError =>
  forbidden(place, 'is not found, is not public, or is this server itself', {
    what: 'host',
    mend: 'mend it, or start the server with --allow-network for its range',
  });

const portRefusal = (place: Place): WaitlessError =>
  forbidden(place, 'is not one for HTTP', {
    what: 'port',
    mend: 'take 80, 443 or one from 1024 on that no other protocol is known for',
  });

const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');

/** Names that mean something inside a machine or a network alone, whatever a resolver makes of them. */
const isLocalName = (name: string): boolean =>
  !name.includes('.') || /\.(localhost|local|internal|home\.arpa)$/i.test(name);

export function addressGuard({ isAllowed, isOwn = () => false, resolve = resolveAll }: GuardOptions): AddressGuard {
  /** An address, and the IPv4 address it leads to. */
  const waysTo = (address: string): string[] => {
    const inner = isIP(address) === 6 && !address.includes('%') ? embeddedIPv4(groupsOf(address)) : undefined;
    return inner === undefined ? [address] : [address, inner];
  };
  const allowed = (address: string): boolean => waysTo(address).some((one) => isAllowed(one));
  const may = (address: string): boolean => allowed(address) || isPublicAddress(address);
  const own = (host: string, port: number, path?: string): boolean =>
    waysTo(host).some((one) => isOwn(one, port, path));

  async function vetted(name: string): Promise<LookupAddress[]> {
    const found = await resolve(name);
    const judge = isLocalName(name.replace(/\.$/, '')) ? allowed : may;
    if (found.length === 0 || !found.every(({ address }) => judge(address))) throw refusal();
    return found;
  }

  /** What can be said of a URL without looking its host up. */
  function refusalAsItStands(text: string, place: Place): WaitlessError | undefined {
    const url = new URL(text);
    const [host, port] = [hostOf(url), portOf(url)];
    if (!isOpenPort(port)) return portRefusal(place);
    return own(host, port, url.pathname) || (isIP(host) !== 0 && !may(host)) ? refusal(place) : undefined;
  }

  return {
    async check(text, place = 'target') {
      const refused = refusalAsItStands(text, place);
      if (refused) throw refused;
      const url = new URL(text);
      if (isIP(hostOf(url)) !== 0) return;
      const found = await vetted(hostOf(url)).catch(() => undefined);
      if (!found || found.some(({ address }) => own(address, portOf(url)))) throw refusal(place);
    },
    fits: (text) => refusalAsItStands(text, 'target') === undefined,
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
    refusalOf: ({ remoteAddress, remotePort }) =>
      // One that was closed already has no address, and is used by nobody.
      remoteAddress === undefined || (may(remoteAddress) && !own(remoteAddress, remotePort ?? 0))
        ? undefined
        : refusal(),
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
