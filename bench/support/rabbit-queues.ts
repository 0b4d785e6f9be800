// The queues of the RabbitMQ peer, declared alike by its front and its worker, and how both connect.
import type { Options } from 'amqplib';

/** Without it a lone message waits 40 ms for an acknowledgement of the packet before. */
export const amqpSocket = { noDelay: true } as const;

const quorum = { durable: true, arguments: { 'x-queue-type': 'quorum' } } satisfies Options.AssertQueue;

export const queues = {
  /** A worker takes these. */
  jobs: { name: 'jobs', options: quorum },
  /** And nobody these. */
  accepted: { name: 'accepted', options: quorum },
} as const;

/** Durable, but no quorum queue: the faster of the two, and nobody was promised anything about a reply. */
export const replies = { name: 'replies', options: { durable: true } } as const;

/** Unsettled messages at a time: as many as there are callers at most, so that neither end is ever short of work. */
export const prefetch = 512;
