// What users of the SDK see.
export { createClient, type ClientOptions, type WaitlessClient } from './client.ts';
export type { Query } from './address.ts';
export type { BatchEntry, BatchOutcome } from './batch.ts';
export type { RequestBody } from './body.ts';
export { OperationFailed } from './failed.ts';
export type { ConsumedEvent, ConsumeOptions, Consumer, EventHandler } from './consume.ts';
export type { EventAttributes, EventData, NewTopicEvent } from './cloud-event.ts';
export type { EventsOptions } from './events.ts';
export type { EventVerbs } from './event-verbs.ts';
export type { Handler, Job, Reply } from './job.ts';
export type { ListFilters, OperationOptions, OperationSnapshot } from './operations.ts';
export type { PublishedEvent, PublishOptions } from './publish.ts';
export type { RequestOptions } from './request.ts';
export type { ClientResponse } from './response.ts';
export type { ResultOptions, ResultOutcome } from './result.ts';
export type { ResultKey } from './result-keys.ts';
export type { Seams } from './seams.ts';
export { type CheckedResponse, ContractBroken, type Service, type ServiceContract } from './service.ts';
export type { SchemaInput, SchemaIssue, SchemaOutput, SchemaVerdict, StandardSchema } from './standard-schema.ts';
export type { SocketClass, SocketLike } from './socket.ts';
export type { LiveEvent, SubscribeOptions } from './subscribe.ts';
export type { SubmitOptions, SubmitOutcome } from './submit.ts';
export type {
  DeadLetter,
  EventFilter,
  OpenDelivery,
  PageOptions,
  Subscription,
  SubscriptionDocument,
  SubscriptionVerbs,
} from './subscriptions.ts';
export type { ReadToken, TokenOptions } from './token.ts';
export type { Topic } from './topic.ts';
export type { TopicEvent } from './topic-event.ts';
export type { HistoryOptions, HistoryPage, HistoryReset, TopicSettings, TopicSummary } from './topics.ts';
export type { WaitOptions } from './wait.ts';
export type { FollowOptions, WatchOptions } from './watch.ts';
export {
  type ReceivedBody,
  type ReceivedHeaders,
  signWebhook,
  type VerifiedWebhook,
  verifyWebhook,
  type WebhookCheck,
  WebhookRefused,
} from './webhook.ts';
export type { Worker } from './worker.ts';
export type { WorkerOptions } from './worker-options.ts';
export { WaitlessError } from '@waitless/protocol';
export type {
  Durability,
  Operation,
  OperationError,
  OperationEvent,
  OperationEventKind,
  OperationProgress,
  OperationReceipt,
  OperationReset,
  OperationStatus,
  Page,
  ServiceSummary,
  TimelineEntry,
} from '@waitless/protocol';
