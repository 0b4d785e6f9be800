// One connection of a consumer that does nothing else: it answers all that it has and takes the next in one request. Of an answer it reads only the tokens.
import { HttpConnection } from './http-connection.ts';

export interface LeaseLoop {
  port: number;
  /** Where it leases. */
  path: string;
  worker: string;
  /** Leases taken at once. */
  max: number;
  readBytes: number;
  /** What every lease is answered with: the members that follow its token, as JSON. */
  answer: string;
  onBroken: (error: Error) => void;
}

const waitSeconds = 20;
const tokenStart = '{"token":"';

/** Resolves when it has asked for the first time; it goes on until its process ends. */
export async function leaseForever({ port, path, worker, max, readBytes, answer, onBroken }: LeaseLoop): Promise<void> {
  const ask = (items: string): void => {
    const body = `{"worker":"${worker}","max":${max},"waitSeconds":${waitSeconds},"settle":[${items}]}`;
    connection.send(
      `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
  };
  const connection = await HttpConnection.open({
    port,
    readBytes,
    onBroken,
    onAnswer({ status, body }) {
      const text = body.toString('latin1');
      const leases = text.indexOf('"leases":[');
      const refused = text.indexOf('"code"');
      if (status !== 200 || leases < 0 || (refused >= 0 && refused < leases))
        return onBroken(new Error(`${status} ${text.slice(0, 300)}`));
      ask(settle(text, { from: leases, end: `",${answer}}` }));
    },
  });
  ask('');
}

/** Answers every lease of a batch. What else stands in it is ours and holds no text that looks like a token. */
function settle(text: string, { from, end }: { from: number; end: string }): string {
  let items = '';
  for (let at = text.indexOf(tokenStart, from); at >= 0;) {
    const start = at + tokenStart.length;
    const after = text.indexOf('"', start);
    items += `${items === '' ? '' : ','}${tokenStart}${text.slice(start, after)}${end}`;
    at = text.indexOf(tokenStart, after);
  }
  return items;
}
