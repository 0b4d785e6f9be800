// submit: the requests that all connections send in one turn go to the store together.
import { WaitlessError } from '@waitless/protocol';
import type { BodyBudget } from '../../core/body-budget.ts';
import type { Outlooks } from '../../core/outlook.ts';
import type { Services } from '../../core/services.ts';
import type { Submitted, SubmitRequest, SubmitVerbs } from '../../core/submit.ts';
import { type CallItem, misfit, readHeaders } from '../json/call-item.ts';
import { outcomeMembers } from '../json/outcome.ts';
import { JsonScan } from '../json/scan.ts';
import { fieldError, Shape } from '../json/shape.ts';
import type { Frame } from './read-frames.ts';
import type { Session } from './session.ts';
import { refMember } from './text-frame.ts';
import { eventsIn, includesIn, type Wish } from './watches.ts';

export interface SubmitDependencies {
  submit: Pick<SubmitVerbs, 'submitAll'>;
  services: Pick<Services, 'get'>;
  outlooks: Pick<Outlooks, 'ofSubmitted'>;
  budget: BodyBudget;
  /** What a request asks for; throws for one that is wrong. */
  readItem: (item: CallItem, from: { namespace: string; base: string }) => SubmitRequest;
}

interface Waiting {
  session: Session;
  request: SubmitRequest;
  ref: string | undefined;
  /** Undefined where nothing is watched. */
  wish: Wish | undefined;
  includes: boolean;
  receivedAt: number;
}

/** As many as a batch may have. */
const mostTogether = 1000;
const fields = ['service', 'method', 'path', 'query', 'headers', 'body', 'bodyBase64', 'watch', 'include'] as const;

export class Submits {
  readonly #d: SubmitDependencies;
  #waiting: Waiting[] = [];
  /** Of the request before: many are alike, and texts are taken over from it. */
  #like: readonly string[] = [];

  constructor(dependencies: SubmitDependencies) {
    this.#d = dependencies;
  }

  /** The frame `submit`. Throws for one that is wrong. */
  take(session: Session, frame: Frame): void {
    const { connection, watches } = session;
    const shape = new Shape(frame.value, frame.at, fields);
    const item = this.#itemOf(frame, shape);
    const events = eventsIn(shape, 'watch', frame.at);
    const includes = includesIn(shape, frame.at);
    const request = this.#d.readItem(item, connection);
    if (events !== undefined) {
      if (request.durability === 'none')
        throw new WaitlessError(
          'conflicting-headers',
          'Operation-Durability: none keeps nothing, so "watch" cannot be honoured; drop one of the two',
          { members: { accepted: false } },
        );
      watches.ensureRoom();
    }
    this.#d.budget.take(request.body.length);
    connection.begin();
    const wish = events && { ref: frame.ref, events, includes };
    if (this.#waiting.length === 0) setImmediate(() => this.#flush());
    this.#waiting.push({ session, request, ref: frame.ref, wish, includes, receivedAt: performance.now() });
  }

  #itemOf({ at, headers, body }: Frame, shape: Shape): CallItem {
    const text = { most: Number.POSITIVE_INFINITY };
    const item: CallItem = {
      service: shape.needText('service', text),
      method: shape.text('method', text) ?? 'POST',
      path: shape.text('path', text) ?? '',
      query: shape.text('query', text) ?? '',
      rawHeaders: [],
      body: bodyIn(shape, { at, body }),
    };
    if (shape.has('headers')) {
      const source = new JsonScan(headers ?? Buffer.from('""'));
      const wrong = readHeaders(item.rawHeaders, source, { at: `${at}/headers`, like: this.#like });
      if (wrong) throw wrong;
      this.#like = item.rawHeaders;
    }
    const wrong = misfit(item, at);
    if (wrong) throw wrong;
    return item;
  }

  #flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (let i = 0; i < waiting.length; i += mostTogether) void this.#submit(waiting.slice(i, i + mostTogether));
  }

  async #submit(waiting: readonly Waiting[]): Promise<void> {
    let outcomes: (Submitted | WaitlessError)[] | undefined;
    let failure: unknown;
    try {
      outcomes = await this.#d.submit.submitAll(waiting.map(({ request }) => request));
    } catch (error) {
      failure = error;
    }
    for (const [i, one] of waiting.entries()) {
      const { session, request, ref } = one;
      this.#d.budget.release(request.body.length);
      const { connection } = session;
      connection.done();
      if (connection.over) continue;
      const outcome = outcomes?.[i] ?? failure;
      if (!outcomes || outcome instanceof Error) connection.fail(outcome, ref);
      else void this.#tell(outcome as Submitted, one).catch((error: unknown) => connection.fail(error, ref));
    }
  }

  async #tell(outcome: Submitted, { session, ref, wish, includes, receivedAt }: Waiting): Promise<void> {
    const { connection, watches } = session;
    const start = `{"type":"accepted"${refMember(ref)}`;
    if (outcome.kind === 'forgotten') return connection.send(`${start}}`);
    const ended = outcome.kind === 'stored' || outcome.fromStore;
    const members = outcomeMembers(outcome, {
      base: connection.base,
      retryAfter: wish || outcome.kind === 'stored' || outcome.fromStore ? undefined : this.#pause(outcome, receivedAt),
    });
    const result =
      includes && ended && !wish ? `,"result":${await watches.resultOf(outcome.id, connection.namespace)}` : '';
    connection.send(`${start},${members}${result}}`);
    if (!wish || connection.over) return;
    const record = outcome.kind === 'stored' ? outcome.stored.operation : outcome.record;
    if (record) watches.follow(record, { id: outcome.id, wish });
    else if (outcome.kind === 'accepted' && wish.events === 'end') watches.untilEnd(outcome, wish);
    else await watches.followMade(outcome.id, wish);
  }

  #pause(outcome: Submitted & { kind: 'accepted' }, receivedAt: number): number | undefined {
    const service = this.#d.services.get(outcome.service);
    if (!service) return undefined;
    return this.#d.outlooks.ofSubmitted({ ...outcome, service, waitedMs: performance.now() - receivedAt });
  }
}

const noBody = Buffer.alloc(0);

function bodyIn(shape: Shape, { at, body }: { at: string; body: Buffer | undefined }): Buffer {
  if (body !== undefined && shape.has('bodyBase64'))
    throw fieldError('invalid-parameter', at, 'must not have both body and bodyBase64');
  const base64 = shape.text('bodyBase64', { most: Number.POSITIVE_INFINITY });
  if (base64 === undefined) return body ?? noBody;
  if (base64.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(base64))
    throw fieldError('invalid-parameter', `${at}/bodyBase64`, 'is not base64 (RFC 4648 section 4, with its padding)');
  return Buffer.from(base64, 'base64');
}
