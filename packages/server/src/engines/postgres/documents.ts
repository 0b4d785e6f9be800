// Small named documents, such as services that were made over the API.
import type { NamedDocument } from '../../engine/engine.ts';
import type { Connections, Statement } from './connections.ts';

const save: Statement = {
  name: 'document-save',
  text: `INSERT INTO document (kind, name, text, saved_at) VALUES ($1, $2, $3, $4::int8)
    ON CONFLICT (kind, name) DO UPDATE SET text = excluded.text, saved_at = excluded.saved_at`,
};
const remove: Statement = {
  name: 'document-remove',
  text: 'DELETE FROM document WHERE kind = $1 AND name = $2 RETURNING 1',
};
const list: Statement = {
  name: 'documents',
  text: 'SELECT kind, name, text, saved_at FROM document WHERE kind = $1 ORDER BY name',
};

export async function saveDocument(
  connections: Connections,
  { kind, name, text, savedAt }: NamedDocument,
): Promise<void> {
  await connections.run(save, [kind, name, text, savedAt]);
}

/** False when there is none. */
export async function removeDocument(
  connections: Connections,
  { kind, name }: { kind: string; name: string },
): Promise<boolean> {
  return (await connections.run(remove, [kind, name])).length > 0;
}

export async function listDocuments(connections: Connections, kind: string): Promise<NamedDocument[]> {
  const rows = (await connections.run(list, [kind])) as [string, string, string, number][];
  return rows.map(([of, name, text, savedAt]) => ({ kind: of, name, text, savedAt }));
}
