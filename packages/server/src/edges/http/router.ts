// Finds the handler of a request in the one route table; HEAD is served wherever GET is.
import { METHODS } from 'node:http';
import { type Route, type RouteName, routes, unbuiltRoutes, WaitlessError } from '@waitless/protocol';
import findMyWay, { type HTTPMethod } from 'find-my-way';
import type { Handler } from './exchange.ts';

export interface Match {
  route: Route;
  handler: Handler;
  params: Readonly<Record<string, string | undefined>>;
}

interface Store {
  route: Route;
  handler: Handler;
}

/**
 * The parameters of a path with percent-encoding, which the router has decoded and handlers read as it came.
 * Its fixed words must stand there as they are: `/v1/%63all/…` is not `/v1/call/…`, and gives undefined.
 */
function rawParams(pattern: string, path: string): Match['params'] | undefined {
  const words = path.split('/');
  const params: Record<string, string> = {};
  for (const [i, word] of pattern.split('/').entries()) {
    const name = /^\{([a-z]+)\}$/.exec(word)?.[1];
    if (name !== undefined) params[name] = words[i]!;
    else if (!word.startsWith('{') && word !== words[i]) return undefined;
  }
  return params;
}

/** Whatever the parser knows, WebDAV and QUERY included; TRACE would echo credentials and CONNECT is for proxies. */
const anyMethods: readonly string[] = METHODS.filter((method) => method !== 'TRACE' && method !== 'CONNECT');

const pattern = (path: string): string => path.replace(/\{[a-z]+…\}/, '*').replace(/\{([a-z]+)\}/g, ':$1');

export function createRouter(handlers: Readonly<Record<RouteName, Handler>>): (method: string, path: string) => Match {
  // As long as a request line can be: what is too long for a name is for its handler to say, with a better word than 404.
  const router = findMyWay({ caseSensitive: true, ignoreTrailingSlash: false, maxParamLength: 16_384 });
  const unused = (): void => {};
  const allowed = new Map<string, Set<string>>();
  const add = (methods: readonly string[], path: string, store: Store): void => {
    router.on([...methods] as HTTPMethod[], pattern(path), unused, store);
    const set = allowed.get(path) ?? new Set<string>();
    for (const method of methods) set.add(method);
    allowed.set(path, set);
  };
  for (const [name, route] of Object.entries(routes) as [RouteName, Route][]) {
    const methods = route.method === 'ANY' ? anyMethods : route.method === 'GET' ? ['GET', 'HEAD'] : [route.method];
    add(methods, route.path, { route, handler: handlers[name] });
  }
  for (const path of unbuiltRoutes) {
    const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'].filter(
      (method) => !allowed.get(path)?.has(method),
    );
    const route: Route = { method: 'ANY', path, tag: 'operate', access: 'key', summary: '', output: {}, errors: [] };
    add(methods, path, {
      route,
      handler: () => Promise.reject(new WaitlessError('not-implemented', `${path} is documented but not built yet`)),
    });
  }
  const everyMethod = [...new Set([...allowed.values()].flatMap((set) => [...set]))];

  return (method, path) => {
    const find = (name: string): Match | undefined => {
      const found = router.find(name as HTTPMethod, path);
      if (!found) return undefined;
      const { route, handler } = found.store as Store;
      const params = path.includes('%') ? rawParams(route.path, path) : found.params;
      return params && { route, handler, params };
    };
    const match = find(method);
    if (match) return match;
    const others = everyMethod.filter((other) => find(other));
    if (others.length === 0)
      throw new WaitlessError('not-found', 'there is nothing at this path; /openapi.json lists what there is');
    throw new WaitlessError(
      'method-not-allowed',
      `${method} is not allowed here; ${others.join(', ')} ${others.length === 1 ? 'is' : 'are'}`,
      { headers: { Allow: others.join(', ') } },
    );
  };
}
