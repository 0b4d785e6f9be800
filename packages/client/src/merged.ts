// Several sequences as one, each element when it comes.

/** Ends when all have ended; a failure of one ends it. That, and leaving it, aborts the signal of those that are left. */
export async function* merged<T>(
  begin: (signal: AbortSignal) => AsyncGenerator<T, void, void>[],
): AsyncGenerator<T, void, void> {
  interface Came {
    source: AsyncGenerator<T, void, void>;
    result?: IteratorResult<T, void>;
    error?: unknown;
  }
  const came: Came[] = [];
  let wake = (): void => {};
  const come = (one: Came): void => {
    came.push(one);
    wake();
  };
  const ask = (source: Came['source']): void =>
    void source.next().then(
      (result) => come({ source, result }),
      (error: unknown) => come({ source, error }),
    );
  const stop = new AbortController();
  const sources = begin(stop.signal);
  sources.forEach(ask);
  try {
    for (let left = sources.length; left > 0;) {
      const next = came.shift();
      if (!next) await new Promise<void>((resolve) => (wake = resolve));
      else if (!next.result) throw next.error;
      else if (next.result.done) left--;
      else {
        yield next.result.value;
        ask(next.source);
      }
    }
  } finally {
    stop.abort(new Error('nobody reads any more'));
    for (const source of sources) source.return().catch(() => {});
  }
}
