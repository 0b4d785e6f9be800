// Leases of a service with target pull, for the workers of a WebSocket.
import { WaitlessError } from '@waitless/protocol';
import type { Reply } from '../../core/reply.ts';
import type { Services } from '../../core/services.ts';
import type { Work, WorkVerb } from '../../core/work.ts';
import { leaseMembers, wholeBody } from '../json/lease.ts';
import type { HandedLease, LeaseSource } from './lease-source.ts';

export interface ServiceSourceDependencies {
  services: Pick<Services, 'get' | 'require'>;
  work: WorkVerb;
  reply: Pick<Reply, 'release'>;
}

/** Throws for one that there is not, and one that pushes. */
export function serviceSource(
  { services, work, reply }: ServiceSourceDependencies,
  { namespace, name }: { namespace: string; name: string },
): LeaseSource {
  if (services.require(name).target.kind !== 'pull')
    throw new WaitlessError(
      'invalid-parameter',
      `service ${name} pushes to a backend; only a service with target pull hands out leases`,
    );
  return {
    key: `service ${name}`,
    about: { service: name },
    async take(wanted) {
      // It may have been changed meanwhile.
      const service = services.get(name);
      if (service?.target.kind !== 'pull')
        throw new WaitlessError('unknown-service', `service ${name} hands out no leases any more`);
      const taken = await work({ ...wanted, namespace, service });
      return { leases: taken.map((one) => handed(one, name)), reset: undefined };
    },
    giveBack: (tokens) => reply.release(tokens),
  };
}

const handed = (work: Work, service: string): HandedLease => ({
  token: work.token === 'none' ? undefined : work.token,
  members(token) {
    const put = (body: Uint8Array): string => leaseMembers({ ...work, token }, { service, body });
    return work.body instanceof Uint8Array ? put(work.body) : wholeBody(work.body).then(put);
  },
});
