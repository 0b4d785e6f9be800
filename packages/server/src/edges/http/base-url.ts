// The base of the URLs in answers: the public URL, a trusted proxy's word, or where the server listens.
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
  const peer = request.socket.remoteAddress;
  if (options.isTrustedProxy && peer !== undefined && options.isTrustedProxy(peer)) {
    const forwarded = forwardedBase(request);
    if (forwarded !== undefined) return forwarded;
  }
  if (options.publicUrl !== undefined) return options.publicUrl;
  const host = request.headers.host;
  return options.anyAddress && host !== undefined && hostPattern.test(host) ? `http://${host}` : listeningUrl;
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
