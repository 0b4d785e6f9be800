// Subscriptions over HTTP: making, looking at, pausing and removing them, and what they have taken and not done with.
import { isName, WaitlessError } from '@waitless/protocol';
import type { Ids } from '../../core/ids.ts';
import type { Subscriptions } from '../../core/subscriptions.ts';
import { deadLetterJson, shownOpen, type SubscriptionView } from '../../core/subscription-view.ts';
import type { OpenEvent } from '../../engine/subscriptions.ts';
import { fieldError, Shape } from '../json/shape.ts';
import { type Exchange, type Handler, jsonAnswer } from './exchange.ts';
import { jsonBody } from './json-body.ts';
import { limitOf } from './limit.ts';
import { parseQuery } from './query.ts';

export interface SubscriptionsDependencies {
  subscriptions: Subscriptions;
  view: SubscriptionView;
  ids: Ids;
}

const controlBytes = 256 * 1024;
const mostPositions = 1000;
const openStates = ['waiting', 'sending', 'held'] as const;

/** The subscription that a path names; a name none can have is told apart from one that is merely not there. */
export function subscriptionKey({ params, namespace }: Exchange): { namespace: string; name: string } {
  const name = params['name']!;
  if (!isName(name))
    throw new WaitlessError(
      'invalid-name',
      'the name of a subscription starts with a letter or digit and goes on with letters, digits, "_" and "-", 128 at most',
    );
  return { namespace, name };
}

export function subscriptionHandlers({ subscriptions, view, ids }: SubscriptionsDependencies) {
  const get: Handler = async (exchange) => jsonAnswer(200, JSON.stringify(await view.one(subscriptionKey(exchange))));

  const list: Handler = async ({ namespace, query }) => {
    onlyKnown(query, []);
    return jsonAnswer(200, JSON.stringify({ items: await view.all(namespace), next: null }));
  };

  const put: Handler = async (exchange) => {
    const key = subscriptionKey(exchange);
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    const { isNew } = await subscriptions.put(key, value);
    return jsonAnswer(
      isNew ? 201 : 200,
      JSON.stringify(await view.one(key)),
      isNew ? ['Location', `${exchange.base}/v1/subscriptions/${key.name}`] : [],
    );
  };

  const remove: Handler = async (exchange) => {
    await subscriptions.remove(subscriptionKey(exchange));
    return { status: 204, headers: ['Cache-Control', 'no-store'] };
  };

  const changing =
    (change: (key: { namespace: string; name: string }) => Promise<unknown>): Handler =>
    async (exchange) => {
      const key = subscriptionKey(exchange);
      const { value } = await jsonBody(exchange, { limit: controlBytes });
      new Shape(value, '', []);
      await change(key);
      return jsonAnswer(200, JSON.stringify(await view.one(key)));
    };

  async function page(
    exchange: Exchange,
    { states, known, withData }: { states: readonly OpenEvent['state'][]; known: readonly string[]; withData: boolean },
  ): Promise<{ items: OpenEvent[]; next: string | null }> {
    const key = subscriptionKey(exchange);
    const query = onlyKnown(exchange.query, known);
    const { number } = await subscriptions.record(key);
    const { namespace } = key;
    const cursor = query.get('cursor');
    const after = cursor === undefined ? 0 : ids.cursorSeq(cursor, namespace, `events.${number}`);
    if (after === undefined)
      throw new WaitlessError('invalid-cursor', 'the cursor is not one of this list; start without one');
    const { items, next } = await view.open(key, { states, limit: limitOf(query.get('limit')), after, withData });
    return { items, next: next === null ? null : ids.cursor({ namespace, seq: next }, `events.${number}`) };
  }

  const deliveries: Handler = async (exchange) => {
    const states = statesOf(parseQuery(exchange.query).get('state'));
    const { items, next } = await page(exchange, { states, known: ['state', 'limit', 'cursor'], withData: false });
    return jsonAnswer(200, JSON.stringify({ items: items.map(shownOpen), next }));
  };

  const deadLetters: Handler = async (exchange) => {
    const { items, next } = await page(exchange, { states: ['dead'], known: ['limit', 'cursor'], withData: true });
    return jsonAnswer(200, `{"items":[${items.map(deadLetterJson).join(',')}],"next":${JSON.stringify(next)}}`);
  };

  const redrive: Handler = async (exchange) => {
    const key = subscriptionKey(exchange);
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    const positions = new Shape(value, '', ['positions']).list('positions', mostPositions)?.map((one, i) => {
      if (typeof one === 'number' && Number.isSafeInteger(one) && one > 0) return one;
      throw fieldError('invalid-parameter', `/positions/${i}`, 'must be the position of a dead letter');
    });
    return jsonAnswer(200, JSON.stringify({ redriven: await view.redrive(key, positions) }));
  };

  const forget: Handler = async (exchange) => {
    const key = subscriptionKey(exchange);
    const given = onlyKnown(exchange.query, ['positions']).get('positions');
    const positions = given?.split(',').map((one) => {
      if (/^[1-9]\d{0,14}$/.test(one)) return Number(one);
      throw new WaitlessError('invalid-parameter', 'positions must be whole numbers with commas between them');
    });
    if (positions && positions.length > mostPositions)
      throw new WaitlessError('invalid-parameter', `positions must be ${mostPositions} at most`);
    return jsonAnswer(200, JSON.stringify({ removed: await view.forget(key, positions) }));
  };

  return {
    get,
    list,
    put,
    remove,
    pause: changing((key) => subscriptions.pause(key)),
    resume: changing((key) => subscriptions.resume(key)),
    deliveries,
    deadLetters,
    redrive,
    forget,
  };
}

function onlyKnown(text: string, known: readonly string[]) {
  const query = parseQuery(text);
  for (const name of query.names())
    if (!known.includes(name))
      throw new WaitlessError(
        'invalid-parameter',
        `${JSON.stringify(name.slice(0, 64))} is not known here; ${known.length === 0 ? 'this takes no parameters' : `the parameters are ${known.join(', ')}`}`,
      );
  return query;
}

function statesOf(value: string | undefined): readonly OpenEvent['state'][] {
  if (value === undefined) return openStates;
  const state = openStates.find((one) => one === value);
  if (state === undefined)
    throw new WaitlessError('invalid-parameter', `state must be one of ${openStates.join(', ')}`);
  return [state];
}
