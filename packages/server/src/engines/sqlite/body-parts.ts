// Large bodies in pieces of their own rows.
import { partBytes, type Store } from './store.ts';

export type Side = 'request' | 'result';

export interface BodyParts {
  write(seq: number, side: Side, body: Buffer): void;
  read(seq: number, side: Side, part: number): Buffer | undefined;
}

export function bodyParts(store: Store): BodyParts {
  const insert = store.db.prepare('INSERT OR REPLACE INTO body_part (seq, side, part, bytes) VALUES (?, ?, ?, ?)');
  const clear = store.db.prepare('DELETE FROM body_part WHERE seq = ? AND side = ?');
  const select = store.db
    .prepare<[number, number, number], Buffer>('SELECT bytes FROM body_part WHERE seq = ? AND side = ? AND part = ?')
    .pluck();
  const inline = {
    request: store.db.prepare<[number], Buffer | null>('SELECT body FROM request WHERE seq = ?').pluck(),
    result: store.db.prepare<[number], Buffer | null>('SELECT body FROM result WHERE seq = ?').pluck(),
  };
  const code = (side: Side): number => (side === 'request' ? 0 : 1);
  return {
    write(seq, side, body) {
      clear.run(seq, code(side));
      for (let part = 0; part * partBytes < body.length; part++)
        insert.run(seq, code(side), part, body.subarray(part * partBytes, (part + 1) * partBytes));
    },
    // A body that stands in its row is its own only part.
    read: (seq, side, part) =>
      select.get(seq, code(side), part) ?? (part === 0 ? (inline[side].get(seq) ?? undefined) : undefined),
  };
}
