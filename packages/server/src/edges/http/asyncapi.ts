// The AsyncAPI document, made from the same tables as the OpenAPI document: what is told in streams, in the words that travel.
import {
  closeCodes,
  operationEventKinds,
  type Route,
  routes,
  schemas,
  streamPath,
  streamProtocol,
  streamTokenPrefix,
  webhookHeaders,
} from '@waitless/protocol';
import { callbackMessages, callbackSchemas, noticeMessages } from './asyncapi-callbacks.ts';
import { clientMessages, exchanges, frameMessages, serverMessages } from './asyncapi-frames.ts';
import {
  anyBody,
  eventMessage,
  eventMessages,
  eventSchemas,
  openingMessage,
  streamResetMessage,
  toldKinds,
} from './asyncapi-messages.ts';
import { type Fields, pathDetails } from './openapi-details.ts';
import { component } from './openapi-problems.ts';

export interface AsyncApiOptions {
  /** Version of the server. */
  readonly version: string;
  /** Base of every URL, such as `http://127.0.0.1:7878`. */
  readonly serverUrl: string;
}

/** AsyncAPI 3.0, seen from the server: it sends events and receives what opens a stream. */
export function asyncApiDocument({ version, serverUrl }: AsyncApiOptions): Fields {
  const base = serverUrl.replace(/\/+$/, '');
  const messages: Record<string, Fields> = {
    ...eventMessages(base),
    ...frameMessages(base),
    ...callbackMessages(base),
    submitForStream: {
      ...openingMessage('A request that is answered with the stream of its operation.', ['Last-Event-ID']),
      ...anyBody,
    },
    openStream: openingMessage(
      'Follow up to a hundred operations, named in `operations`, on one connection.',
      routes.stream.headers,
    ),
    streamReset: streamResetMessage(base),
    openOperationEvents: openingMessage(
      'Follow one operation, from its beginning or after an event.',
      routes.getEvents.headers,
    ),
  };
  const own = { ...eventSchemas, ...callbackSchemas };
  const events = toldKinds.map(eventMessage);
  const streamed = [...operationEventKinds.map(eventMessage), 'streamReset'];
  const channels = {
    operationEvents: {
      ...channelOf(routes.getEvents, 'Events of one operation', 'http'),
      messages: carried(['openOperationEvents', ...events]),
    },
    stream: {
      ...channelOf(routes.stream, 'Events of several operations', 'http'),
      messages: carried(['openStream', ...streamed]),
    },
    submit: {
      ...channelOf(routes.call, 'Submits', 'http'),
      messages: carried(['submitWithCallback', 'submitForStream']),
    },
    callback: {
      // No address: only the submit knows it.
      servers: [{ $ref: '#/servers/receiver' }],
      title: 'Callbacks',
      summary:
        'POSTed to the `Callback-Url` of a submit, signed as Standard Webhooks has it, until it is answered with a 2xx',
      messages: carried(noticeMessages),
    },
    socket,
  };
  const operations = {
    openOperationEvents: httpOperation('receive', 'operationEvents', ['openOperationEvents'], routes.getEvents),
    operationEvents: httpOperation('send', 'operationEvents', events, routes.getEvents),
    openStream: httpOperation('receive', 'stream', ['openStream'], routes.stream),
    streamEvents: httpOperation('send', 'stream', streamed, routes.stream),
    submitForStream: {
      ...httpOperation('receive', 'submit', ['submitForStream'], routes.call),
      reply: onChannel('operationEvents', events),
    },
    submitWithCallback: {
      ...httpOperation('receive', 'submit', ['submitWithCallback'], routes.call),
      reply: { address: { location: '$message.header#/Callback-Url' }, ...onChannel('callback', noticeMessages) },
    },
    callback: {
      action: 'send',
      ...onChannel('callback', noticeMessages),
      security: [component('securitySchemes', 'signature')],
      bindings: { http: { method: 'POST', bindingVersion: '0.3.0' } },
    },
    ...socketOperations(),
  };
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Waitless: streams',
      version,
      description:
        'What Waitless tells on its own, seen from Waitless: it sends events, and receives what opens a stream. ' +
        'Every outlet tells the same events under the same ids. The routes that are asked are in `/openapi.json`.',
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    defaultContentType: 'application/json',
    servers: {
      http: serverOf(base),
      webSocket: serverOf(base.replace(/^http/, 'ws')),
      receiver: {
        host: '{receiver}',
        protocol: 'https',
        description: 'Whoever is called back',
        variables: { receiver: { description: 'Of the `Callback-Url`; by `http` as well.' } },
      },
    },
    channels,
    operations,
    components: {
      messages: inDraft7(messages),
      schemas: inDraft7({ ...used(schemas, [messages, own]), ...own }),
      securitySchemes,
    },
  };
}

const securitySchemes: Fields = {
  bearer: {
    type: 'http',
    scheme: 'bearer',
    description: "A key of the server's key file: `Authorization: Bearer KEY`. Only where there is one.",
  },
  signature: {
    type: 'httpApiKey',
    in: 'header',
    name: webhookHeaders.signature,
    description:
      'By which a receiver knows that a notice is from here: Standard Webhooks, with the secrets of `/v1/callback-secrets`.',
  },
  socketToken: {
    type: 'httpApiKey',
    in: 'header',
    name: 'Sec-WebSocket-Protocol',
    description: `A read-only token behind \`${streamTokenPrefix}\`, beside \`${streamProtocol}\`: what a browser has. It may watch, and nothing else.`,
  },
  readToken: {
    type: 'httpApiKey',
    in: 'query',
    name: 'token',
    description: 'A read-only token of `POST /v1/tokens`, for the operations that it names; instead of a key.',
  },
};

function serverOf(base: string): Fields {
  const { host, pathname, protocol } = new URL(base);
  return {
    host,
    ...(pathname === '/' ? {} : { pathname }),
    protocol: protocol.slice(0, -1),
    description: 'This server',
  };
}

/** A channel at the path of a route. */
function channelOf({ path, summary }: Route, title: string, server: string): Fields {
  const parameters = [...path.matchAll(/\{([a-z]+)…?\}/g)].map(([, name]) => [
    name!,
    { description: pathDetails[name!]!.description },
  ]);
  return {
    address: path.replace('…', ''),
    title,
    summary,
    servers: [{ $ref: `#/servers/${server}` }],
    ...(parameters.length === 0 ? {} : { parameters: Object.fromEntries(parameters) }),
  };
}

/** The messages of a channel under their own names. */
const carried = (names: readonly string[]): Fields =>
  Object.fromEntries(names.map((name) => [name, component('messages', name)]));

const socket: Fields = {
  address: streamPath,
  title: 'WebSocket',
  summary: 'Submit, publish, watch, cancel, and take and answer work and events, all on one connection',
  description:
    'Text messages of JSON: one frame, or an array of frames. What is asked with a `ref` is answered with it. ' +
    `Closed with ${closeCodes.tooSlow} when too much is unread and ${closeCodes.stopping} when the server stops: connect again, and go on with \`watch\` and \`after\`.`,
  servers: [{ $ref: '#/servers/webSocket' }],
  messages: carried([...clientMessages, ...serverMessages]),
  bindings: {
    ws: {
      method: 'GET',
      headers: {
        type: 'object',
        properties: {
          'Sec-WebSocket-Protocol': {
            type: 'string',
            description: `\`${streamProtocol}\`, and beside it in a browser \`${streamTokenPrefix}\` with a read-only token behind it.`,
          },
        },
        required: ['Sec-WebSocket-Protocol'],
      },
      bindingVersion: '0.1.0',
    },
  },
};

/** One for each frame that a client sends, with what may answer it, and one for what comes without being asked for each time. */
function socketOperations(): Fields {
  const security = [component('securitySchemes', 'bearer')];
  const byToken = component('securitySchemes', 'socketToken');
  const asked = exchanges.map(({ type, message, answers }) => [
    `${type}OnSocket`,
    { action: 'receive', ...onChannel('socket', [message]), security, reply: onChannel('socket', answers) },
  ]);
  const told = { action: 'send', ...onChannel('socket', serverMessages), security: [...security, byToken] };
  return { ...(Object.fromEntries(asked) as Fields), toldOnSocket: told };
}

const onChannel = (channel: string, names: readonly string[]): Fields => ({
  channel: { $ref: `#/channels/${channel}` },
  messages: names.map((name) => ({ $ref: `#/channels/${channel}/messages/${name}` })),
});

function httpOperation(action: 'send' | 'receive', channel: string, names: readonly string[], route: Route): Fields {
  const query = (route.query ?? [])
    .filter(({ built }) => built !== false)
    .map(({ name, summary }) => [name, { type: 'string', description: summary }]);
  return {
    action,
    ...onChannel(channel, names),
    security: credentials(route),
    bindings: {
      http: {
        method: route.method === 'ANY' ? 'POST' : route.method,
        ...(query.length === 0 ? {} : { query: { type: 'object', properties: Object.fromEntries(query) } }),
        bindingVersion: '0.3.0',
      },
    },
  };
}

const credentials = ({ readableByToken }: Route): Fields[] => [
  component('securitySchemes', 'bearer'),
  ...(readableByToken ? [component('securitySchemes', 'readToken')] : []),
];

/** Those of the shared schemas that something here speaks of, and those that these speak of. */
function used(all: Readonly<Record<string, unknown>>, roots: readonly unknown[]): Fields {
  const found = new Set<string>();
  const look = (value: unknown): void => {
    for (const [, name] of JSON.stringify(value).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
      if (found.has(name!) || !(name! in all)) continue;
      found.add(name!);
      look(all[name!]);
    }
  };
  for (const root of roots) look(root);
  return Object.fromEntries([...found].map((name) => [name, all[name]]));
}

/** AsyncAPI speaks an older JSON Schema than OpenAPI: the one word of ours that it has not is that for places of a list, and ours are all alike. */
function inDraft7(schema: Fields): Fields {
  const text = JSON.stringify(schema, (_, value: unknown) => {
    if (typeof value !== 'object' || value === null || !('prefixItems' in value)) return value;
    const { prefixItems, ...rest } = value as { prefixItems: unknown[] };
    return { ...rest, items: prefixItems[0] };
  });
  return JSON.parse(text) as Fields;
}
