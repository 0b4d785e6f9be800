// Small named documents, such as services that were made over the API.
import type { NamedDocument } from '../../engine/engine.ts';
import type { Store } from './store.ts';

export interface DocumentStatements {
  save(document: NamedDocument): void;
  remove(document: { kind: string; name: string }): boolean;
  list(kind: string): NamedDocument[];
}

export function documentStatements({ db }: Store): DocumentStatements {
  const put = db.prepare('INSERT OR REPLACE INTO document (kind, name, text, saved_at) VALUES (?, ?, ?, ?)');
  const drop = db.prepare('DELETE FROM document WHERE kind = ? AND name = ?');
  const select = db.prepare<[string], NamedDocument>(
    'SELECT kind, name, text, saved_at AS savedAt FROM document WHERE kind = +? ORDER BY name',
  );
  return {
    save: ({ kind, name, text, savedAt }) => void put.run(kind, name, text, savedAt),
    remove: ({ kind, name }) => drop.run(kind, name).changes > 0,
    list: (kind) => select.all(kind),
  };
}
