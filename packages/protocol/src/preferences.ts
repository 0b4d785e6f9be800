// The Prefer header (RFC 7240): only `respond-async` and `wait` mean something here, all else is ignored as the RFC asks.

export interface Preferences {
  respondAsync: boolean;
  /** Whole seconds the client is ready to wait. */
  waitSeconds: number | undefined;
}

/** Reads a Prefer field value; unknown, malformed and repeated preferences are ignored (the first of a name counts). */
export function parsePrefer(value: string | undefined): Preferences {
  const found: Preferences = { respondAsync: false, waitSeconds: undefined };
  if (value === undefined) return found;
  for (const part of value.split(',')) {
    const preference = part.split(';', 1)[0]!.trim();
    const wait = /^wait\s*=\s*(?:"(\d{1,10})"|(\d{1,10}))$/i.exec(preference);
    if (wait) found.waitSeconds ??= Number(wait[1] ?? wait[2]);
    else if (/^respond-async$/i.test(preference)) found.respondAsync = true;
  }
  return found;
}
