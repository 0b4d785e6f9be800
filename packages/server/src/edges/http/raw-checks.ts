// Judges the request line and the raw header list before anything is routed: what two parsers could read in two ways is refused.
import { singletonHeaders, WaitlessError } from '@waitless/protocol';

/** More is never honest, and node drops those beyond its own limit, so that a late Authorization could vanish. */
const mostHeaders = 100;

export interface Target {
  path: string;
  query: string;
}

export const servedMethods = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS';

/** Half of the header block: more leaves no room for the fields, and the parser's own refusal has no words. */
const longestTarget = 8192;

/** Splits an origin-form target; throws 400 for anything else and for paths with a second reading. */
export function checkTarget(method: string, url: string): Target {
  if (method === 'TRACE' || method === 'CONNECT')
    throw new WaitlessError('method-not-allowed', `${method} is not served`, {
      headers: { Allow: servedMethods },
    });
  if (!url.startsWith('/'))
    throw new WaitlessError('bad-request-target', 'the request target must be a path such as /v1/operations');
  if (url.length > longestTarget)
    throw new WaitlessError('uri-too-long', `the request target is longer than ${longestTarget} bytes`);
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  if (badPath(path))
    throw new WaitlessError(
      'bad-path',
      'dot segments, doubled slashes, backslashes, "#", NUL and broken percent-encoding are not allowed in the path',
    );
  return { path, query: mark < 0 ? '' : url.slice(mark + 1) };
}

const suspicious = /%|\/\/|\\|\/\.|#|[^\x21-\x7e]/;

/** Judged once, on the bytes that came; never decoded twice. */
export function badPath(path: string): boolean {
  if (!suspicious.test(path)) return false;
  if (/\/\/|\\|#|[^\x21-\x7e]|%(?![0-9A-Fa-f]{2})|%00|%5c/i.test(path)) return true;
  if (/\/(?:\.|%2e){1,2}(?:\/|$)/i.test(path)) return true;
  // A slash in disguise makes a dot segment for whoever decodes first.
  if (/%2f/i.test(path) && /(?:^|\/|%2f)(?:\.|%2e){1,2}(?:\/|%2f|$)/i.test(path)) return true;
  if (/%[89a-f][0-9a-f]/i.test(path)) {
    try {
      decodeURIComponent(path);
    } catch {
      return true;
    }
  }
  return false;
}

/** Throws for the header list of a request that could mean two things. */
export function checkHeaders(rawHeaders: readonly string[]): void {
  const hosts = checkFields(rawHeaders);
  if (hosts !== 1)
    throw new WaitlessError('bad-host', hosts === 0 ? 'the Host header is missing' : 'the Host header stands twice');
}

/** Throws for a list of fields that could mean two things, and counts the hosts it names. Names are lower-cased here once, for the singleton check. */
export function checkFields(rawHeaders: readonly string[]): number {
  if (rawHeaders.length > mostHeaders * 2)
    throw new WaitlessError('too-many-headers', `at most ${mostHeaders} header fields are read`);
  let hosts = 0;
  let seen: string[] | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    if (name === 'host') hosts++;
    else if (name === 'transfer-encoding') {
      // A body in a coding nobody here takes off would be stored as if it were the body itself (RFC 9112 6.1).
      if (rawHeaders[i + 1]!.trim().toLowerCase() !== 'chunked')
        throw new WaitlessError('bad-request', 'no Transfer-Encoding but chunked is read');
    } else if (singletonHeaders.has(name)) {
      if (seen?.includes(name)) throw new WaitlessError('duplicate-header', `${rawHeaders[i]} may stand once only`);
      (seen ??= []).push(name);
    }
  }
  return hosts;
}
