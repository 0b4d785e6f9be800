// What a proxy in front may say and nobody else: the base of the URLs in answers, and where a caller is.
import type { IncomingMessage } from 'node:http';

export interface BaseOptions {
  /** Without a slash at its end. */
  publicUrl: string | undefined;
  /** Whether a peer's Forwarded fields are believed. */
  isTrustedProxy: ((address: string) => boolean) | undefined;
  /** Listening on every address: no single URL is right, so the caller's own Host is taken. */
  anyAddress: boolean;
}

const hostPattern = /^(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;

export function baseOf(request: IncomingMessage, options: BaseOptions, listeningUrl: string): string {
  // Asking the system who the peer is costs a call for each connection.
  const peer = options.isTrustedProxy && request.socket.remoteAddress;
  if (peer !== undefined && options.isTrustedProxy!(peer)) {
    const forwarded = forwardedBase(request);
    if (forwarded !== undefined) return forwarded;
  }
  if (options.publicUrl !== undefined) return options.publicUrl;
  const host = request.headers.host;
  return options.anyAddress && host !== undefined && hostPattern.test(host) ? `http://${host}` : listeningUrl;
}

/** Address of the caller; behind a trusted proxy the last of `X-Forwarded-For` that is no such proxy itself, since whoever sends may invent all before it. */
export function clientAddress(
  { socket, headers }: Pick<IncomingMessage, 'headers'> & { socket: { remoteAddress?: string | undefined } },
  isTrustedProxy: BaseOptions['isTrustedProxy'],
): string {
  let address = socket.remoteAddress ?? '';
  const hops = (headers['x-forwarded-for'] as string | undefined)?.split(',') ?? [];
  while (isTrustedProxy?.(address) && hops.length > 0) address = hops.pop()!.trim();
  return address;
}

/** `Forwarded` (RFC 7239), else `X-Forwarded-Proto` and `-Host`; the first element is the client's side. */
function forwardedBase(request: IncomingMessage): string | undefined {
  const standard = request.headers.forwarded?.split(',')[0];
  const parameter = (name: string): string | undefined =>
    new RegExp(`(?:^|;)\\s*${name}=("?)([^";,]+)\\1`, 'i').exec(standard ?? '')?.[2];
  const first = (name: string): string | undefined =>
    (request.headers[name] as string | undefined)?.split(',')[0]?.trim();
  const proto = parameter('proto') ?? first('x-forwarded-proto');
  const host = parameter('host') ?? first('x-forwarded-host');
  return host !== undefined && hostPattern.test(host) && (proto === undefined || /^https?$/i.test(proto))
    ? `${proto?.toLowerCase() ?? 'http'}://${host}`
    : undefined;
}
