// Several statements as one commit, where a later one must see what others had written before the first one's lock was free.
import type { Connection, Statement } from './connections.ts';

const begin: Statement = { name: 'begin', text: 'BEGIN' };
const commit: Statement = { name: 'commit', text: 'COMMIT' };
const rollback: Statement = { name: 'rollback', text: 'ROLLBACK' };

export async function inTransaction<T>(connection: Connection, work: () => Promise<T>): Promise<T> {
  await connection.run(begin, []);
  let answer: T;
  try {
    answer = await work();
  } catch (error) {
    // On a connection that is lost there is nothing left to undo.
    await connection.run(rollback, []).catch(() => undefined);
    throw error;
  }
  await connection.run(commit, []);
  return answer;
}
