// Turns a service, a path and a query into the URL of a submit without letting URL parsing change what was meant.
import { isName, routePath, WaitlessError } from '@waitless/protocol';

/** Raw text after the `?`, pairs, or an object; a list as value repeats the name. */
export type Query = string | URLSearchParams | Readonly<Record<string, string | number | boolean | readonly string[]>>;

/** The base URL without a final slash. Throws WaitlessError `invalid-parameter` when it is none we can call. */
export function baseUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new WaitlessError('invalid-parameter', `"${text}" is not a URL; one looks like http://127.0.0.1:7878`);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new WaitlessError(
      'invalid-parameter',
      `"${text}" is not an http or https URL; one looks like http://127.0.0.1:7878`,
    );
  if (url.username || url.password)
    throw new WaitlessError(
      'invalid-parameter',
      'the URL carries a user name or password; give the API key as `apiKey` instead.',
    );
  if (url.search || url.hash)
    throw new WaitlessError('invalid-parameter', `"${text}" has a query or fragment; give the server's address alone.`);
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

/** Text after the `?`, empty for none. Raw text stays as it is, except `#`, which would end the URL. */
export function queryText(query: Query | undefined): string {
  if (query === undefined) return '';
  if (typeof query === 'string') return query.replace(/^\?/, '').replaceAll('#', '%23');
  if (query instanceof URLSearchParams) return query.toString();
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) pairs.append(name, String(one));
  }
  return pairs.toString();
}

/**
 * Path and query of a submit. A `?` in the path begins the query. Dot segments, doubled slashes and backslashes are
 * refused here because URL parsing would quietly resolve them, and the call would reach another route.
 */
export function callPath(service: string, path: string | undefined, query: Query | undefined): string {
  if (!isName(service))
    throw new WaitlessError('invalid-name', `"${service}" is not a service name: letters, digits, "_" and "-" only.`);
  const split = (path ?? '').indexOf('?');
  if (split >= 0 && query !== undefined)
    throw new WaitlessError('invalid-parameter', 'the path has a "?" and a query was given as well; give one of them.');
  const rest = (split < 0 ? (path ?? '') : path!.slice(0, split)).replace(/^\//, '').replaceAll('#', '%23');
  if (hasControls(rest) || rest.includes('\\') || rest.includes('//') || rest.startsWith('/'))
    throw new WaitlessError('bad-path', `the path "${path}" has control characters, a backslash or an empty segment.`);
  if (rest.split('/').some((segment) => /^(?:\.|%2e){1,2}$/i.test(segment)))
    throw new WaitlessError('bad-path', `the path "${path}" has a dot segment, which would lead to another route.`);
  const search = queryText(split < 0 ? query : path!.slice(split + 1));
  if (hasControls(search))
    throw new WaitlessError('invalid-parameter', 'the query has control characters; percent-encode them.');
  const base = rest === '' ? routePath('call', { service }) : routePath('callPath', { service, path: rest });
  return (path === '/' ? `${base}/` : base) + (search === '' ? '' : `?${search}`);
}

/** URL parsing drops tabs and line ends silently, so they never get that far. */
export function hasControls(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 || unit === 0x7f) return true;
  }
  return false;
}
