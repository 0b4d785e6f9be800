// The frames of the WebSocket at GET /v1/stream: their shapes, how they are written and read, and the limits and close codes of a connection.
import type { Problem } from './errors.ts';
import type {
  CloudEventJson,
  EnvelopeBody,
  EventLease,
  FailEnvelope,
  HeaderPairs,
  Lease,
  ReplyEnvelope,
} from './lease.ts';
import type { IncludedResult, Operation, OperationEvent, OperationProgress, OperationReceipt } from './operation.ts';

/** The subprotocol that a client offers and the server takes. */
export const streamProtocol = 'waitless.v1';
/** Offered beside it with a read-only token behind it: a browser cannot send an Authorization field. */
export const streamTokenPrefix = 'waitless.token.';
export const streamPath = '/v1/stream';

export const streamLimits = {
  /** Bytes of a message from a client. A larger request or reply goes over HTTP: to /v1/call and to /v1/leases/{token}/reply. */
  messageBytes: 256 * 1024,
  /** Frames of one message from a client. */
  messageFrames: 1000,
  /** Pieces that a message from a client may come in. */
  fragments: 1000,
  /** Operations that one `watch` frame names, and that one connection watches. */
  watchOperations: 1000,
  connectionWatches: 20_000,
  /** `watch` frames with topics that one connection has at once. */
  topicWatches: 1000,
  /** Leases that a worker holds at once. */
  credits: 1000,
  /** Kinds of work that one connection asks for. */
  workers: 100,
  refCharacters: 128,
  /** What a client may leave unread. */
  unreadEvents: 1000,
  unreadBytes: 1024 * 1024,
  /** The server pings a connection that is silent for so long, and gives up one that is for three times as long. */
  quietMs: 15_000,
} as const;

/** Why the server closes a connection. */
export const closeCodes = {
  /** It stops, or is restarted: connect again, and go on with `watch` and `after`. */
  stopping: 1001,
  protocolError: 1002,
  /** A binary message. */
  notText: 1003,
  notUtf8: 1007,
  /** Too many broken or unknown frames, or pings. */
  abuse: 1008,
  tooLarge: 1009,
  failed: 1011,
  /** What was unread became too much: connect again, and go on with `watch` and `after`. */
  tooSlow: 1013,
  /** The read-only token of the connection has expired. */
  expired: 3000,
} as const;

/** `all`: every event; `end`: the last one alone, which costs the server least. */
export type WatchEvents = 'all' | 'end';

/** What each frame of a client may have: the client's own name for it, which every frame that answers it has too. */
interface Asked {
  ref?: string;
}

/** Answered by `accepted`, or `error`. Judged as a request to /v1/call/{service}{path}?{query} would be, less `Prefer: wait`. */
export interface SubmitFrame extends Asked, EnvelopeBody {
  type: 'submit';
  service: string;
  /** Default POST. */
  method?: string;
  /** Below the service, beginning with a slash. */
  path?: string;
  /** Without the question mark. */
  query?: string;
  headers?: Record<string, string> | HeaderPairs;
  /** `event` frames with this `ref` follow. */
  watch?: WatchEvents;
  /** The result comes with the last event; without `watch`, with the `accepted` that a stored result answers. */
  include?: 'result';
}

/** Answered by `ok`; then come `event` and `reset` frames with this `ref`, the last event of an operation last, and an `error` with its `id` for one that there is not. */
export interface WatchFrame extends Asked {
  type: 'watch';
  operations: string[];
  /** Operation → id of the last event of it that is known: only later ones are told. */
  after?: Record<string, string>;
  /** Default `all`. */
  events?: WatchEvents;
  include?: 'result';
}

/** Ends the watches of these operations on this connection, a submit's too; with `watch`, those alone that were begun with that `ref`. Answered by `ok`. */
export interface UnwatchFrame extends Asked {
  type: 'unwatch';
  operations: string[];
  watch?: string;
}

/** Answered by `ok` with the place that is the newest now; then come `event` and `reset` frames with this `ref`, for as long as the connection stays. */
export interface WatchTopicsFrame extends Asked {
  type: 'watch';
  /** Names or patterns. */
  topics: string[];
  /** Id of the last event that is known, or a position, 0 for all that is kept: only later ones are told. Without it only what is published from now on. */
  after?: string | number;
  /** As of a subscription. */
  filter?: unknown;
}

/** Ends the watches on this connection that were begun with these topics, or some of them, and no others. Answered by `ok`. */
export interface UnwatchTopicsFrame extends Asked {
  type: 'unwatch';
  topics: string[];
  watch?: string;
}

/** Answered by `ok` with ids and positions once they are durable. One of the two: an event, or up to 1,000, which are one commit. */
export interface PublishFrame extends Asked {
  type: 'publish';
  topic: string;
  /** In the structured form of CloudEvents. Its `data` is kept as it stands here, byte for byte. */
  event?: CloudEventJson;
  events?: CloudEventJson[];
}

/** Answered by `ok` with the status document. */
export interface CancelFrame extends Asked {
  type: 'cancel';
  id: string;
}

/**
 * Answered by `ok`; then `lease` frames with this `ref` come while the worker holds fewer leases than `credits`. A lease is held until a reply, fail or
 * release of it has been read, whatever that is answered with, but for a malformed one and for 503. The same service again changes the credits; 0: no more
 * leases, those that are held stay.
 */
export interface WorkFrame extends Asked {
  type: 'work';
  service: string;
  credits: number;
  /** Default the service's `lease`. */
  leaseSeconds?: number;
  /** Name of the worker, shown in the timeline. */
  worker?: string;
}

/**
 * The same for the events of a pull subscription, under a `lease` of its own form; a lease is held until an ack, nack or release of it has been read. `reset`
 * tells what the subscription has missed. When it is removed, or gets another target, an `error` with this `ref` is the last of it.
 */
export interface WorkSubscriptionFrame extends Asked {
  type: 'work';
  subscription: string;
  credits: number;
  /** Default the subscription's `lease`. */
  leaseSeconds?: number;
  /** Name of the worker, shown with what it holds. */
  worker?: string;
}

/** Answered by `ok` where the frame has a `ref`, and by `error` in any case; so are the other answers to a lease. */
export interface ReplyFrame extends Asked, ReplyEnvelope {
  type: 'reply';
  token: string;
}
export interface FailFrame extends Asked, FailEnvelope {
  type: 'fail';
  token: string;
}
/** The event is done with. */
export interface AckFrame extends Asked {
  type: 'ack';
  token: string;
}
/** The event is not done, and comes again, or becomes a dead letter. */
export interface NackFrame extends Asked {
  type: 'nack';
  token: string;
  /** Duration or seconds before it comes again. */
  retryAfter?: string | number;
  message?: string;
}
export interface ProgressFrame extends Asked {
  type: 'progress';
  token: string;
  stage?: string;
  percent?: number;
  message?: string;
  data?: unknown;
}
/** Of an operation or an event, as `release` is. */
export interface ExtendFrame extends Asked {
  type: 'extend';
  token: string;
  leaseSeconds?: number;
}
export interface ReleaseFrame extends Asked {
  type: 'release';
  token: string;
}
/** Answered by `pong`. */
export interface PingFrame extends Asked {
  type: 'ping';
}

/** The same two types with `topics` in the place of `operations`. */
export type TopicClientFrame = WatchTopicsFrame | UnwatchTopicsFrame;

export type ClientFrame =
  | SubmitFrame
  | WatchFrame
  | UnwatchFrame
  | PublishFrame
  | CancelFrame
  | WorkFrame
  | WorkSubscriptionFrame
  | ReplyFrame
  | FailFrame
  | AckFrame
  | NackFrame
  | ProgressFrame
  | ExtendFrame
  | ReleaseFrame
  | PingFrame;

/** An operation for a submit. */
export interface AcceptedFrame extends Asked {
  type: 'accepted';
  /** Absent for durability `none`. */
  operation?: OperationReceipt;
  /** The Idempotency-Key was known: this is what its first use was told. */
  replayed?: true;
  /** The result is stored already: no new work was begun. */
  stored?: true;
  /** Seconds since that result was stored. */
  age?: number;
  /** Cache-Status (RFC 9211), for a request with a business key. */
  cacheStatus?: string;
  /** Seconds after which to ask for the operation, for those who do not watch it. */
  retryAfter?: number;
  /** Of a stored result, where it was to be included and nothing is watched; null where it is larger than 64 KB. */
  result?: IncludedResult | null;
}

/** Something happened to an operation. Equal to what the other outlets tell of it, under the same id. */
export interface EventFrame extends Asked {
  type: 'event';
  /** `{operationId}_{version}` */
  id: string;
  event: OperationEvent;
  /** With the last one, where it was asked for; null where there is none of at most 64 KB. */
  result?: IncludedResult | null;
}

/** An event of a topic that is watched. */
export interface TopicEventFrame extends Asked {
  type: 'event';
  /** Its place, for `after` and for what HTTP calls `Last-Event-ID`. */
  id: string;
  topic: string;
  position: number;
  event: CloudEventJson;
}

/** Events of topics cannot be told from where the client wanted: they were removed, or the place is none of this history. What is kept follows. */
export interface TopicResetFrame extends Asked {
  type: 'reset';
  id: string;
  topics: string[];
  reason: 'removed' | 'history';
  from: number;
  to: number;
  detail: string;
}

/** Sent besides to those who watch topics, and known by their members `topic` and `topics`. */
export type TopicFrame = TopicEventFrame | TopicResetFrame;

/** Events cannot go on from where the client wanted: where the operation stands. Later events follow, if there is any. */
export interface ResetFrame extends Asked {
  type: 'reset';
  /** Of the event that the operation stands at. */
  id: string;
  /** Why, in a sentence. */
  detail: string;
  operation: Operation;
}

/** Work. `token` stands for the lease in the frames that answer it, and over HTTP; but `none.N` is known to this connection alone. */
export interface LeaseFrame extends Asked, Lease {
  type: 'lease';
}

/** An event of a subscription. `token` stands for the lease in the frames that answer it, and over HTTP. */
export interface EventLeaseFrame extends Asked, EventLease {
  type: 'lease';
}

/** Events between these positions went by the hard limit of their topic before the subscription had read them. */
export interface SubscriptionResetFrame extends Asked {
  type: 'reset';
  subscription: string;
  from: number;
  to: number;
}

/** Sent besides to those who work for subscriptions, and known by their members `event` and `subscription`. */
export type SubscriptionFrame = EventLeaseFrame | SubscriptionResetFrame;

/** What was asked for is done. */
export interface OkFrame extends Asked {
  type: 'ok';
  /** reply, fail, ack, nack, release: `repeated` where the same answer was recorded before. */
  status?: 'recorded' | 'repeated';
  /** watch of topics: the newest place there is. */
  id?: string;
  /** publish: of each event, in their order. */
  ids?: string[];
  positions?: number[];
  /** publish: which of them were there already, where any was. */
  repeated?: boolean[];
  /** cancel: as it stands now. */
  operation?: Operation;
  /** progress, extend: when the lease ends now. */
  expiresAt?: string;
  /** progress: as it was recorded. */
  progress?: OperationProgress;
}

/** What was asked for is not done; or, without a `ref`, a message or frame could not be read. */
export interface ErrorFrame extends Asked {
  type: 'error';
  problem: Problem;
  /** watch: the operation that it is about; the others are watched. */
  id?: string;
  /** The lease that it is about. */
  token?: string;
  /** Seconds after which to try again. */
  retryAfter?: number;
}

export interface PongFrame extends Asked {
  type: 'pong';
}

export type ServerFrame = AcceptedFrame | EventFrame | ResetFrame | LeaseFrame | OkFrame | ErrorFrame | PongFrame;

/** One message: a frame, or an array of them. */
export const encodeFrames = (frames: readonly (ClientFrame | TopicClientFrame)[]): string =>
  JSON.stringify(frames.length === 1 ? frames[0] : frames);

/** The frames of a message. Throws SyntaxError for what is none. Of a type that is not known a client makes nothing: later servers may have more. */
export function decodeFrames(message: string): ServerFrame[] {
  const value: unknown = JSON.parse(message);
  const frames: unknown[] = Array.isArray(value) ? value : [value];
  for (const frame of frames)
    if (typeof frame !== 'object' || frame === null || typeof (frame as { type?: unknown }).type !== 'string')
      throw new SyntaxError('a message from the server is neither a frame nor an array of frames');
  return frames as ServerFrame[];
}
