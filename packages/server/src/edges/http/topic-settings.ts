// /v1/topics: which there are, how much each keeps, and for how long.
import { WaitlessError } from '@waitless/protocol';
import type { TopicRetention } from '../../config/api-topic.ts';
import { checkTopicName } from '../../core/publish.ts';
import type { TopicSettings } from '../../core/topic-settings.ts';
import type { TopicEngine, TopicRecord } from '../../engine/topics.ts';
import { isoTime } from '../../lib/clock.ts';
import { isTopicName } from '../../lib/topic-trie.ts';
import { type Exchange, type Handler, jsonAnswer } from './exchange.ts';
import { jsonBody } from './json-body.ts';
import { limitOf } from './limit.ts';
import { parseQuery } from './query.ts';
import { fieldError } from '../json/shape.ts';
import { topicOf } from './topics.ts';

export interface TopicSettingsHandlersDependencies {
  engine: Pick<TopicEngine, 'topics'>;
  settings: Pick<TopicSettings, 'read' | 'own' | 'retentionOf' | 'named' | 'put'>;
  /** What a topic keeps, as people may see it. */
  shown: (retention: TopicRetention) => Readonly<Record<string, string>>;
}

const controlBytes = 256 * 1024;

/** Nothing was published under it yet. */
const empty = { events: 0, bytes: 0, last: 0, removedTo: 0, oldestAt: null } as const;

export function topicSettingsHandlers({ engine, settings, shown }: TopicSettingsHandlersDependencies) {
  /** What there is under each name, those that have settings and no event included. */
  async function topicsOf(namespace: string): Promise<Map<string, Omit<TopicRecord, 'number' | 'namespace' | 'name'>>> {
    const [records] = await Promise.all([engine.topics(namespace), settings.read()]);
    const found = new Map<string, Omit<TopicRecord, 'number' | 'namespace' | 'name'>>();
    for (const name of settings.named(namespace)) found.set(name, empty);
    for (const record of records) found.set(record.name, record);
    return found;
  }

  function itemOf(
    namespace: string,
    name: string,
    { events, bytes, last, removedTo, oldestAt }: Omit<TopicRecord, 'number' | 'namespace' | 'name'>,
  ) {
    const key = { namespace, topic: name };
    const own = settings.own(key);
    return {
      name,
      events,
      bytes,
      last,
      removedTo,
      oldestAt: isoTime(oldestAt),
      retention: shown(settings.retentionOf(key)),
      source: own ? 'api' : 'default',
      savedAt: isoTime(own?.savedAt),
    };
  }

  const list: Handler = async ({ namespace, query: text }) => {
    const query = parseQuery(text);
    for (const name of query.names())
      if (name !== 'limit' && name !== 'cursor')
        throw new WaitlessError('invalid-parameter', `${JSON.stringify(name.slice(0, 64))} is no filter of this list`);
    const after = afterOf(query.get('cursor'));
    const limit = limitOf(query.get('limit'));
    const topics = await topicsOf(namespace);
    const names = [...topics.keys()].filter((name) => name > after).toSorted(inOrder);
    const items = names.slice(0, limit).map((name) => itemOf(namespace, name, topics.get(name)!));
    const next = names.length > limit ? Buffer.from(items.at(-1)!.name).toString('base64url') : null;
    return jsonAnswer(200, JSON.stringify({ items, next }));
  };

  const get: Handler = async (exchange) => jsonAnswer(200, await one(exchange, nameIn(exchange)));

  async function one({ namespace }: Exchange, name: string): Promise<string> {
    const found = (await topicsOf(namespace)).get(name);
    if (!found)
      throw new WaitlessError(
        'not-found',
        `nothing was published under ${name} yet, and it has no settings of its own`,
      );
    return JSON.stringify(itemOf(namespace, name, found));
  }

  const put: Handler = async (exchange) => {
    const { namespace } = exchange;
    const name = nameIn(exchange);
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw fieldError('invalid-parameter', '', 'must be a JSON object such as {"maxAge": "30d"}');
    const { isNew } = await settings.put({ namespace, topic: name }, value as Record<string, unknown>);
    const found = (await topicsOf(namespace)).get(name) ?? empty;
    return jsonAnswer(
      isNew ? 201 : 200,
      JSON.stringify(itemOf(namespace, name, found)),
      isNew ? ['Location', `${exchange.base}/v1/topics/${name}`] : [],
    );
  };

  return { list, get, put };
}

/** By code units, as the cursor compares them. */
const inOrder = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function nameIn({ params }: Exchange): string {
  const name = topicOf(params['topic']!);
  checkTopicName(name);
  return name;
}

function afterOf(cursor: string | undefined): string {
  if (cursor === undefined) return '';
  const name = Buffer.from(cursor, 'base64url').toString('utf8');
  if (!isTopicName(name) || Buffer.from(name).toString('base64url') !== cursor)
    throw new WaitlessError('invalid-cursor', 'the cursor is not one of ours; start without one');
  return name;
}
