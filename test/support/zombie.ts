// The story of a worker that lost its lease and answers all the same, told step by step, so that the test of fencing and its
// positive control, an engine without fencing, run the very same one.
import type { Received } from './http.ts';
import { get } from './http.ts';
import { submit } from './operations.ts';
import { reply, takeOne } from './pull-worker.ts';

export interface ZombieStory {
  whileTheOtherHolds: Received;
  winner: Received;
  afterTheEnd: Received;
  sameBytesAsTheWinner: Received;
  result: Received;
}

export async function zombieAnswers(base: string, service: string): Promise<ZombieStory> {
  const accepted = await submit(base, service, { body: 'work' });
  const zombie = await takeOne(base, service, { worker: 'zombie', leaseSeconds: 0.05 });
  // Handed out again: the proof that the first lease has expired.
  const second = await takeOne(base, service, { worker: 'second', leaseSeconds: 60 });
  if (second.operation.id !== zombie.operation.id) throw new Error('another operation was handed out');
  return {
    whileTheOtherHolds: await reply(base, zombie.token, 'from the zombie'),
    winner: await reply(base, second.token, 'from the second worker'),
    afterTheEnd: await reply(base, zombie.token, 'from the zombie'),
    sameBytesAsTheWinner: await reply(base, zombie.token, 'from the second worker'),
    result: await get(accepted.result),
  };
}
