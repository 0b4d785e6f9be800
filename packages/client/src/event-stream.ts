// Reads Server-Sent Events from the body of an answer, as browsers and Node both give it; EventSource could send no API key.

export interface Message {
  /** Of the last event that had one. */
  id: string;
  event: string;
  data: string;
  /** Fields beside those that every such stream has, as the topic of an event. */
  more: Readonly<Record<string, string>>;
}

/** The events of a stream as they come; what is not ended by an empty line at its end is none. */
export async function* messages(
  body: ReadableStream<Uint8Array>,
  /** Called for all that arrives, comments included. */
  onSign: () => void = () => {},
  /** Called with an id that comes without an event: where the reader stands. */
  onPlace: (id: string) => void = () => {},
): AsyncGenerator<Message, void, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const open: Open = { id: '', event: '', data: [], more: {} };
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onSign();
      rest += decoder.decode(value, { stream: true });
      // A CR at the end may be the first half of a CRLF.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop()!;
      for (const line of lines) {
        if (line !== '') take(open, line);
        else if (open.data.length > 0) {
          yield { id: open.id, event: open.event || 'message', data: open.data.join('\n'), more: open.more };
          open.data = [];
          open.event = '';
          open.more = {};
        } else {
          open.event = '';
          open.more = {};
          if (open.id !== '') onPlace(open.id);
        }
      }
    }
  } finally {
    // Whoever stops reading lets go of the connection; one that has broken has nothing to let go of.
    await reader.cancel().catch(() => {});
  }
}

interface Open {
  id: string;
  event: string;
  data: string[];
  more: Record<string, string>;
}

function take(open: Open, line: string): void {
  const colon = line.indexOf(':');
  const name = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
  if (name === 'data') open.data.push(value);
  else if (name === 'event') open.event = value;
  else if (name === 'id' && !value.includes('\0')) open.id = value;
  else if (name !== '' && name !== 'id') open.more[name] = value;
}
