// A lease in words, as workers get it wherever they ask.
import type { Work } from '../../core/work.ts';
import { isoTime } from '../../lib/clock.ts';
import { bodyMember } from './body-member.ts';

/** A large body is read first. */
export async function wholeBody(body: Work['body']): Promise<Uint8Array> {
  if (body instanceof Uint8Array) return body;
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

/** JSON members of a lease, without braces. Put together by hand: the request's head is JSON text already and must not be taken apart. */
export function leaseMembers(
  work: Omit<Work, 'body'>,
  { service, body }: { service: string; body: Uint8Array },
): string {
  const correlation = work.correlationId === null ? `"${work.id}"` : JSON.stringify(work.correlationId);
  return (
    `"token":"${work.token}","operation":{"id":"${work.id}","correlationId":${correlation},"service":"${service}","labels":${work.labels === null ? '{}' : JSON.stringify(work.labels)},` +
    `"createdAt":"${isoTime(work.createdAt)}"},"request":${work.head.slice(0, -1)},${bodyMember(body)}},"attempt":${work.attempt},"lastAttempt":${work.lastAttempt},` +
    `"deadline":${work.deadlineAt === null ? 'null' : `"${isoTime(work.deadlineAt)}"`},"expiresAt":"${isoTime(work.leaseUntil)}"`
  );
}
