// A map whose entries stay as they are: the configuration is shared by everything that runs.

/** `Object.freeze` does not reach the entries of a map; refusing the three writers does. */
export function frozenMap<K, V>(map: Map<K, V>): ReadonlyMap<K, V> {
  const refuse = (): never => {
    throw new TypeError('the configuration does not change while the server runs');
  };
  for (const writer of ['set', 'delete', 'clear'] as const) Object.defineProperty(map, writer, { value: refuse });
  return Object.freeze(map);
}
