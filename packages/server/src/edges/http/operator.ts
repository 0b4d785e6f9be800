// What concerns every namespace at once (services, backups) is for the keys of the namespace `default` alone.
import { WaitlessError } from '@waitless/protocol';
import type { Exchange } from './exchange.ts';

/** Throws 403 for a caller of another namespace. Where no keys exist everybody is in `default`. */
export function requireOperator({ namespace }: Pick<Exchange, 'namespace'>, what: string): void {
  if (namespace !== 'default')
    throw new WaitlessError(
      'insufficient-scope',
      `this key may not ${what}, which concerns all namespaces; use a key of the namespace "default"`,
    );
}
