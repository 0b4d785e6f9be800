// The service that a path names; a name no service can have is told apart from one that is merely not there.
import { isName, WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../../config/config-shape.ts';
import type { Services } from '../../core/services.ts';

/** @param name as it stands in the path: a name needs no percent-encoding, so an encoded one is none. */
export function namedService(services: Services, name: string): ServiceConfig {
  const service = services.get(name);
  if (service) return service;
  if (!isName(name))
    throw new WaitlessError(
      'invalid-name',
      'the name of a service starts with a letter or digit and goes on with letters, digits, "_" and "-", 128 at most',
    );
  return services.require(name);
}
