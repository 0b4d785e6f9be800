// Deliveries over HTTP: the lists, one with its attempts, and having one sent again.
import { type DeliveryStatus, deliveryStates, WaitlessError } from '@waitless/protocol';
import { type Deliveries, type DeliveryPage, shownDelivery, shownWithAttempts } from '../../core/deliveries.ts';
import type { Ids } from '../../core/ids.ts';
import { type Answer, type Exchange, type Handler, jsonAnswer } from './exchange.ts';
import { jsonBody } from './json-body.ts';
import { limitOf } from './limit.ts';
import { parseQuery, type Query } from './query.ts';
import { Shape } from '../json/shape.ts';

const controlBytes = 256 * 1024;

export function deliveryHandlers({ deliveries, ids }: { deliveries: Deliveries; ids: Ids }) {
  function pageWanted({ namespace }: Exchange, query: Query, known: readonly string[]) {
    for (const name of query.names())
      if (!known.includes(name))
        throw new WaitlessError('invalid-parameter', `${JSON.stringify(name.slice(0, 64))} is no filter of this list`);
    const cursor = query.get('cursor');
    const before = cursor === undefined ? undefined : ids.cursorSeq(cursor, namespace, 'deliveries');
    if (cursor !== undefined && before === undefined)
      throw new WaitlessError('invalid-cursor', 'the cursor is not one of ours; start without one');
    return { namespace, limit: limitOf(query.get('limit')), before };
  }

  function pageAnswer({ namespace, base }: Exchange, { items, next }: DeliveryPage): Answer {
    const cursor = next === null ? null : ids.cursor({ namespace, seq: next }, 'deliveries');
    return jsonAnswer(
      200,
      JSON.stringify({ items: items.map((one) => shownDelivery(one, { ids, base })), next: cursor }),
    );
  }

  const list: Handler = async (exchange) => {
    const query = parseQuery(exchange.query);
    const wanted = pageWanted(exchange, query, ['status', 'limit', 'cursor']);
    return pageAnswer(exchange, await deliveries.list({ ...wanted, state: stateOf(query.get('status')) }));
  };

  const ofOperation: Handler = async (exchange) => {
    const wanted = pageWanted(exchange, parseQuery(exchange.query), ['limit', 'cursor']);
    return pageAnswer(exchange, await deliveries.ofOperation(exchange.params['id']!, wanted));
  };

  const one: Handler = async ({ params, namespace, base }) =>
    jsonAnswer(200, JSON.stringify(shownWithAttempts(await deliveries.one(params['id']!, namespace), { ids, base })));

  const retry: Handler = async (exchange) => {
    const { params, namespace, base } = exchange;
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    new Shape(value, '', []);
    const delivery = await deliveries.retry(params['id']!, namespace);
    return jsonAnswer(202, JSON.stringify(shownDelivery(delivery, { ids, base })));
  };

  return { list, ofOperation, one, retry };
}

function stateOf(value: string | undefined): DeliveryStatus | undefined {
  if (value === undefined) return undefined;
  const state = deliveryStates.find((one) => one === value);
  if (state === undefined)
    throw new WaitlessError('invalid-parameter', `status must be one of ${deliveryStates.join(', ')}`);
  return state;
}
