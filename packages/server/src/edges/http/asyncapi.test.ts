// The document says what the tables say of streams and callbacks, a strict linter finds nothing to complain of, and every example is what its schema says.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { headerTable, operationEventKinds, unbuiltRoutes, webhookHeaders } from '@waitless/protocol';
import { asyncApiDocument } from './asyncapi.ts';

interface Ref {
  $ref: string;
}
interface Message {
  headers?: object;
  payload: object;
  examples: { name: string; headers?: unknown; payload?: unknown }[];
}
interface Document {
  info: { version: string };
  servers: Record<string, { host: string; protocol: string; pathname?: string }>;
  channels: Record<string, { address: string | null; messages: Record<string, Ref> }>;
  operations: Record<string, { action: string; channel: Ref; messages: Ref[]; reply?: { messages?: Ref[] } }>;
  components: { messages: Record<string, Message>; schemas: Record<string, object> };
}

const make = (serverUrl = 'http://127.0.0.1:7878/'): Document =>
  asyncApiDocument({ version: '0.1.0', serverUrl }) as unknown as Document;
const document = make();
const { channels, operations, components } = document;
const last = ({ $ref }: Ref): string => $ref.split('/').at(-1)!;

async function lint(text: object, name: string): Promise<string[]> {
  const config = await createConfig({ extends: ['recommended-strict'], rules: { 'no-unused-components': 'off' } });
  const found = await lintFromString({ source: JSON.stringify(text), absoluteRef: name, config });
  return found.map(({ ruleId, message, location }) => `${ruleId}: ${message} ${location[0]?.pointer}`);
}

/** The linter compares examples with their schemas in OpenAPI documents alone, so each message becomes a body of one. */
function asBodies(messages: Readonly<Record<string, Message>>): object {
  const body = (schema: object, examples: [string, unknown][]): object => ({
    description: 'One part of a message.',
    content: {
      'application/json': {
        schema,
        examples: Object.fromEntries(examples.map(([name, value]) => [name.replaceAll(' ', '-'), { value }])),
      },
    },
  });
  const parts = Object.entries(messages).flatMap(([name, { headers, payload, examples }]) => {
    const of = (part: 'headers' | 'payload'): [string, unknown][] =>
      examples.flatMap((one) => (one[part] === undefined ? [] : [[one.name, one[part]]]));
    return [
      [`${name}Payload`, body(payload, of('payload'))],
      ...(headers ? [[`${name}Headers`, body(headers, of('headers'))]] : []),
    ] as const;
  });
  return {
    openapi: '3.1.0',
    info: { title: 'Messages', version: '1', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    servers: [{ url: 'http://127.0.0.1' }],
    security: [],
    paths: {},
    components: { schemas: components.schemas, responses: Object.fromEntries(parts) },
  };
}

describe('AsyncAPI document', () => {
  test('the linter has nothing to say under its recommended-strict rules', async () => {
    assert.deepEqual(await lint(document, 'asyncapi.json'), []);
  });

  test('the linter is awake: it finds a broken document', async () => {
    const broken = structuredClone(document);
    broken.operations['operationEvents']!.action = 'tell';
    assert.notEqual((await lint(broken, 'asyncapi.json')).length, 0);
  });

  test('every message has an example, and examples are what their schemas say', async () => {
    for (const [name, { examples }] of Object.entries(components.messages)) assert.notEqual(examples.length, 0, name);
    assert.deepEqual(await lint(asBodies(components.messages), 'messages.json'), []);
    const wrong = structuredClone(components.messages);
    (wrong['operationProgress']!.examples[0]!.payload as { attempt: unknown }).attempt = 'first';
    assert.notEqual((await lint(asBodies(wrong), 'messages.json')).length, 0, 'a wrong example is found');
  });

  test('every kind of event is told in the stream of an operation, and the reset', () => {
    const names = [...operationEventKinds, 'reset'].map((kind) => `operation${kind[0]!.toUpperCase()}${kind.slice(1)}`);
    assert.deepEqual(operations['operationEvents']!.messages.map(last), names);
    for (const name of names) assert.ok(components.messages[name], name);
    const streamed = [...names.slice(0, -1), 'streamReset'];
    assert.deepEqual(operations['streamEvents']!.messages.map(last), streamed, 'and in that of several');
  });

  test('the headers that ask for callbacks and streams are those of the table, and notices have those of Standard Webhooks', () => {
    const fieldsOf = (name: string): string[] =>
      Object.keys((components.messages[name]!.headers as { properties: object }).properties);
    const asked = headerTable.filter(({ name, built }) => built && name.startsWith('Callback-'));
    assert.equal(asked.length, 3);
    for (const { name } of asked) assert.ok(fieldsOf('submitWithCallback').includes(name), name);
    for (const name of ['openOperationEvents', 'openStream', 'submitForStream'])
      assert.ok(fieldsOf(name).includes('Last-Event-ID'), name);
    assert.deepEqual(operations['callback']!.messages.map(last), [
      'noticeProgress',
      'noticeSucceeded',
      'noticeFailed',
      'noticeCancelled',
    ]);
    for (const { $ref } of operations['callback']!.messages)
      for (const name of Object.values(webhookHeaders)) assert.ok(fieldsOf(last({ $ref })).includes(name), name);
  });

  test('every frame is there: with what answers it where the client sends it, and among what the server sends', () => {
    // Their types are held to the protocol's by the compiler; these are the ones of the wire contract.
    const asked = 'submit watch unwatch publish cancel work reply fail ack nack progress extend release ping'.split(
      ' ',
    );
    for (const type of asked) {
      const { action, messages, reply } = operations[`${type}OnSocket`]!;
      assert.equal(action, 'receive');
      assert.deepEqual(messages.map(last), [`${type}Frame`]);
      assert.ok((reply?.messages ?? []).length > 0, type);
    }
    assert.deepEqual(
      operations['toldOnSocket']!.messages.map(last),
      'accepted event reset lease ok error pong'.split(' ').map((type) => `${type}Frame`),
    );
    assert.equal(Object.keys(channels['socket']!.messages).length, asked.length + 7);
  });

  test('every operation speaks of messages of its own channel, and every message is somewhere', () => {
    const spoken = new Set<string>();
    for (const [name, { channel, messages }] of Object.entries(operations)) {
      const own = channels[last(channel)]!.messages;
      for (const message of messages) {
        assert.ok(own[last(message)], `${name}: ${message.$ref}`);
        assert.ok(message.$ref.startsWith(`${channel.$ref}/messages/`), name);
        spoken.add(last(message));
      }
    }
    assert.deepEqual([...spoken].sort(), Object.keys(components.messages).sort());
  });

  test('what is not built is left out', () => {
    for (const { address } of Object.values(channels))
      assert.ok(!unbuiltRoutes.some((path) => path === address), String(address));
  });

  test('it is plain JSON with the version and the address it was given', () => {
    assert.deepEqual(JSON.parse(JSON.stringify(document)), document);
    assert.equal(document.info.version, '0.1.0');
    const { http } = make('https://example.com/waitless/').servers;
    assert.deepEqual([http?.protocol, http?.host, http?.pathname], ['https', 'example.com', '/waitless']);
  });
});
