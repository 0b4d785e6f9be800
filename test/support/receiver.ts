// A receiver of callbacks: it checks every notice with the public library and with our own check, and answers what the test says.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { join } from 'node:path';
import type { Delivery, DeliveryWithAttempts, Operation, OperationEvent, Page } from '@waitless/protocol';
import { verifyWebhook } from '@waitless/client';
import { Webhook } from 'standardwebhooks';
import { type Backend, type BackendRequest, type Behaviour, backendFor } from './backend.ts';
import { get, post, type Sent, until } from './http.ts';
import { type ServerSettings, serverFor, temporaryFolder, type TestServer } from './server.ts';

/** A CloudEvent as it is sent. */
export interface Notice {
  specversion: string;
  id: string;
  source: string;
  type: string;
  subject: string;
  time: string;
  datacontenttype: string;
  data: OperationEvent & { result?: NonNullable<Operation['result']> };
}

/** Fields of a configuration that lets callbacks go to this machine and keeps the key of their secrets where all nodes find it. */
export async function callbackFields(t: TestContext): Promise<Record<string, unknown>> {
  return { allowNetwork: ['127.0.0.0/8'], secretKeyFile: join(await temporaryFolder(t), 'secret.key') };
}

export interface Called {
  server: TestServer;
  receiver: Backend;
  /** Of the namespace `default`, or the one that was asked for. */
  secret: string;
}

export async function rotated(url: string, key?: string, body: Record<string, unknown> = {}): Promise<string> {
  const answer = await post(`${url}/v1/callback-secrets/rotate`, { body, ...(key === undefined ? {} : { key }) });
  assert.equal(answer.status, 200, answer.text);
  return answer.json<{ secret: string }>().secret;
}

/** A server whose callbacks may come here, and a receiver that answers 204 unless it is told otherwise. */
export async function calledBack(
  t: TestContext,
  settings: ServerSettings = {},
  behaviour: Behaviour = () => ({ status: 204 }),
): Promise<Called> {
  const receiver = await backendFor(t, behaviour);
  const server = await serverFor(t, { ...settings, fields: { ...(await callbackFields(t)), ...settings.fields } });
  const [namespace] = settings.namespaces ?? [];
  const secret = await rotated(server.url, namespace === undefined ? undefined : server.key(namespace));
  return { server, receiver, secret };
}

/** The notice in a request, which must be signed with one of these secrets: by the judgement of the public library, and by ours. */
export async function noticeIn(request: BackendRequest, secrets: string | readonly string[]): Promise<Notice> {
  const { headers, body } = request;
  const all = typeof secrets === 'string' ? [secrets] : secrets;
  assert.equal(request.method, 'POST');
  assert.equal(headers['content-type'], 'application/cloudevents+json');
  const { id } = await verifyWebhook({ headers, body, secrets: all });
  const fields = Object.fromEntries(
    ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => [name, headers[name] ?? '']),
  );
  const fits = all.some((secret) => {
    try {
      new Webhook(secret).verify(body.toString('utf8'), fields);
      return true;
    } catch {
      return false;
    }
  });
  assert.ok(fits, 'Standard Webhooks finds a signature that fits');
  const notice = JSON.parse(body.toString('utf8')) as Notice;
  assert.equal(notice.id, id, 'the id of the event is that of the message');
  return notice;
}

export async function deliveriesAt(url: string, sent: Sent = {}): Promise<Page<Delivery>> {
  const answer = await get(url, sent);
  assert.equal(answer.status, 200, answer.text);
  return answer.json<Page<Delivery>>();
}

/** Those of an operation, by its status URL, newest first, once `fits` says so. */
export const deliveriesWhen = (
  status: string,
  fits: (items: readonly Delivery[]) => boolean,
  sent: Sent = {},
): Promise<Delivery[]> =>
  until(async () => {
    const { items } = await deliveriesAt(`${status}/deliveries`, sent);
    return fits(items) ? items : undefined;
  }, 20);

/** The only delivery of an operation with its attempts, once it is in this state. */
export async function deliveryWhen(
  status: string,
  state: Delivery['status'],
  { attempt, ...sent }: Sent & { attempt?: number } = {},
): Promise<DeliveryWithAttempts> {
  const [found] = await deliveriesWhen(
    status,
    (items) =>
      items.length === 1 && items[0]!.status === state && (attempt === undefined || items[0]!.attempt === attempt),
    sent,
  );
  return deliveryAt(found!.links.self, sent);
}

export async function deliveryAt(url: string, sent: Sent = {}): Promise<DeliveryWithAttempts> {
  const answer = await get(url, sent);
  assert.equal(answer.status, 200, answer.text);
  return answer.json<DeliveryWithAttempts>();
}
