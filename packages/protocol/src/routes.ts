// The one table of routes: the server registers its handlers from it, the SDK builds its URLs from it, the OpenAPI document is made from it.
import type { Route } from './route.ts';
import { callbackRoutes } from './routes/callbacks.ts';
import { operateRoutes } from './routes/operate.ts';
import { operationRoutes } from './routes/operations.ts';
import { resultRoutes } from './routes/results.ts';
import { serviceRoutes } from './routes/services.ts';
import { submitRoutes } from './routes/submit.ts';
import { subscriptionRoutes } from './routes/subscriptions.ts';
import { topicRoutes } from './routes/topics.ts';
import { workerRoutes } from './routes/workers.ts';

/** Every route that is built, in the order in which it is told of. The key is the operationId of the OpenAPI document. */
export const routes = {
  ...submitRoutes,
  ...operationRoutes,
  ...serviceRoutes,
  ...resultRoutes,
  ...workerRoutes,
  ...subscriptionRoutes,
  ...topicRoutes,
  ...callbackRoutes,
  ...operateRoutes,
} as const satisfies Record<string, Route>;

export type RouteName = keyof typeof routes;

/** Documented routes of later versions: 501 `not-implemented`, so that nobody takes a 404 for "no such id". */
export const unbuiltRoutes = ['/docs'] as const;

/** The URL path of a route with its parameters percent-encoded. */
export function routePath(name: RouteName, parameters: Readonly<Record<string, string>> = {}): string {
  return routes[name].path.replace(/\{([a-z]+)(…?)\}/g, (_, parameter: string, rest: string) => {
    const value = parameters[parameter] ?? '';
    return rest ? value : encodeURIComponent(value);
  });
}

/** Whether `?token=` is a credential there: not where the query is the backend's, nor where no key is asked for. */
export const takesTokens = ({ access, path }: Pick<Route, 'access' | 'path'>): boolean =>
  access === 'key' && !path.startsWith('/v1/call/');
