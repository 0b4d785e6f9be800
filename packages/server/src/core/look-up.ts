// Look-up by business key or correlation id: what is stored or under way there; forgetting it, and computing it anew.
import { WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../config/config-shape.ts';
import type { Engine, KeyFound, KeyName, RequestHead } from '../engine/engine.ts';
import type { BodyBudget } from './body-budget.ts';
import { forwardedValues, identityOf } from './business-key.ts';
import type { Fetch, WaitOptions } from './fetch.ts';
import type { Ids } from './ids.ts';
import type { Services } from './services.ts';
import type { Clock } from '../lib/clock.ts';
import type { Accepted, SubmitVerbs } from './submit.ts';

export interface LookUpDependencies {
  engine: Pick<Engine, 'lookUp' | 'forget' | 'request' | 'readBody' | 'operations'>;
  services: Services;
  ids: Ids;
  fetch: Fetch;
  submit: SubmitVerbs;
  budget: BodyBudget;
  clock: Clock;
}

/** A business key as somebody asks for it. */
export interface KeyAsked {
  namespace: string;
  service: ServiceConfig;
  key: string;
  /** What would be passed on of the asker's own fields: its credentials are part of the key. */
  passedOn: RequestHead['headers'];
}

/** The same for a key that nobody ever used, one whose result has expired, and one that is somebody else's. */
const nothingThere = (): WaitlessError =>
  new WaitlessError('not-found', 'nothing is stored under this key, and nothing that would be is being computed');

export class LookUp {
  readonly #d: LookUpDependencies;

  constructor(dependencies: LookUpDependencies) {
    this.#d = dependencies;
  }

  async #nameOf({ namespace, service, key, passedOn }: KeyAsked): Promise<KeyName> {
    const identity = identityOf({
      key,
      service: service.name,
      forwardedValues: forwardedValues(passedOn, service.forward),
    });
    return { queue: await this.#d.services.number(namespace, service.name), identity };
  }

  async #find(name: KeyName): Promise<KeyFound> {
    const found = await this.#d.engine.lookUp(name, this.#d.clock.now());
    if (!found) throw nothingThere();
    return found;
  }

  /** The newest stored result, else what computes one, once it has ended or the wait has; 404 where there is neither. */
  async byKey(asked: KeyAsked, { waitMs, signal }: WaitOptions): Promise<KeyFound> {
    const name = await this.#nameOf(asked);
    const found = await this.#find(name);
    if (found.kind === 'stored' || waitMs <= 0) return found;
    await this.#d.fetch.ended(found.operation, { waitMs, ...(signal ? { signal } : {}) });
    return this.#find(name);
  }

  /** Milliseconds since a result was stored. */
  ageMs(storedAt: number): number {
    return Math.max(0, this.#d.clock.now() - storedAt);
  }

  /** The newest operation of a service with a correlation id; one without its own answers to its operation id. */
  async idOf({
    namespace,
    service,
    correlationId,
  }: {
    namespace: string;
    service: string;
    correlationId: string;
  }): Promise<string> {
    const { engine, ids, fetch } = this.#d;
    // A page may be short although there is more.
    for (let beforeSeq: number | undefined; ;) {
      const { items, nextSeq } = await engine.operations({
        namespace,
        service,
        correlationId,
        limit: 1,
        ...(beforeSeq === undefined ? {} : { beforeSeq }),
      });
      if (items[0]) return ids.operationId(items[0]);
      if (nextSeq === null) break;
      beforeSeq = nextSeq;
    }
    const own = ids.operationKey(correlationId) && (await fetch.operation(correlationId, namespace).catch(asUnknown));
    if (own && own.correlationId === null && own.service === service) return correlationId;
    throw new WaitlessError('not-found', 'this service has no operation with this correlation id');
  }

  /** Forgets what is stored, and what is being computed is kept for nobody; 404 when there was nothing. */
  async purge(asked: KeyAsked): Promise<void> {
    if (!(await this.#d.engine.forget(await this.#nameOf(asked)))) throw nothingThere();
  }

  /** Submits the request whose result is stored, or being computed, once more: its result takes the place of the old one, which answers until then. */
  async refresh(asked: KeyAsked, { correlationId }: { correlationId: string | null }): Promise<Accepted> {
    const { engine, submit, budget } = this.#d;
    const found = await this.#find(await this.#nameOf(asked));
    const { seq, key } = found.kind === 'stored' ? found.stored.operation : found.operation;
    const request = await engine.request(seq);
    if (!request) throw nothingThere();
    budget.take(request.bodyBytes);
    try {
      const parts: Uint8Array[] = [];
      if (request.bodyBytes > 0) for await (const part of engine.readBody(seq, 'request')) parts.push(part);
      const kept = JSON.parse(request.head) as RequestHead;
      // The trace that it was a part of has ended long ago.
      const head = { ...kept, headers: kept.headers.filter(([name]) => !/^trace(?:parent|state)$/i.test(name)) };
      const outcome = await submit.submit({
        namespace: asked.namespace,
        service: asked.service,
        head,
        contentType: field(head, 'content-type'),
        contentEncoding: field(head, 'content-encoding'),
        body: Buffer.concat(parts),
        // A rule that was changed since, and would file the result under another key, is found out by this.
        resultKey: key,
        cache: { noStore: false, noCache: true, maxAgeMs: null, onlyIfCached: false },
        correlationId,
        labels: null,
        idempotencyKey: null,
        durability: 'stored',
        timeoutMs: undefined,
        delayMs: undefined,
        startByMs: undefined,
        priority: undefined,
        waits: false,
      });
      if (outcome.kind !== 'accepted')
        throw new TypeError('what is to be computed anew is never answered from the store');
      return outcome;
    } finally {
      budget.release(request.bodyBytes);
    }
  }
}

const field = ({ headers }: RequestHead, name: string): string | undefined =>
  headers.find(([other]) => other.toLowerCase() === name)?.[1];

function asUnknown(error: unknown): undefined {
  if (error instanceof WaitlessError && error.status < 500) return undefined;
  throw error;
}
