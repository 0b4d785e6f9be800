// The number under which the operations of one ordering key stand in line: short enough for an index and for a lock.
import { hash } from 'node:crypto';

/**
 * 52 bits of a digest of queue and key. Keys with the same bits would wait for each other: that costs them time and breaks no order, so they are not told
 * apart.
 */
export const laneOf = (queue: number, orderingKey: string): number =>
  Number.parseInt(hash('sha256', `${queue}/${orderingKey}`, 'hex').slice(0, 13), 16);
