// A receiver of events: checks each by the public library of Standard Webhooks and by our own check, and answers what the test says.
import assert from 'node:assert/strict';
import { verifyWebhook } from '@waitless/client';
import { Webhook } from 'standardwebhooks';
import type { BackendRequest } from './backend.ts';

export interface ReceivedEvent {
  /** Of the message: what a repeat is known by. */
  messageId: string;
  event: Record<string, unknown> & { id: string; source: string; type: string };
  /** The very text that came. */
  text: string;
}

/** The event in a request, which must be signed with this secret. */
export async function eventIn({ method, headers, body }: BackendRequest, secret: string): Promise<ReceivedEvent> {
  assert.equal(method, 'POST');
  assert.equal(headers['content-type'], 'application/cloudevents+json');
  const { id: messageId } = await verifyWebhook({ headers, body, secrets: [secret] });
  const text = body.toString('utf8');
  const fields = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => [name, headers[name] ?? '']);
  new Webhook(secret).verify(text, Object.fromEntries(fields) as Record<string, string>);
  assert.match(messageId, /^[A-Za-z0-9_]+$/);
  return { messageId, event: JSON.parse(text) as ReceivedEvent['event'], text };
}
