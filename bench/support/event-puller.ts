// The consumer of a pull subscription in a process of its own: each of its connections acknowledges what it has and takes the next in one request.
//
// Arguments: port, subscription, connections. It reads of an event only the token of its lease.
import { HttpConnection } from './http-connection.ts';

const max = 1000;
const waitSeconds = 20;

const [port, subscription, connections] = process.argv.slice(2) as [string, string, string];
const tokenStart = '{"token":"';

function stop(error: Error): void {
  process.stderr.write(`the puller had to stop: ${error.message}\n`);
  process.exit(1);
}

/** Acknowledges every lease of an answer. The events in it are ours and hold no text that looks like a token. */
function settle(text: string, from: number): string {
  let items = '';
  for (let at = text.indexOf(tokenStart, from); at >= 0;) {
    const start = at + tokenStart.length;
    const end = text.indexOf('"', start);
    items += `${items === '' ? '' : ','}${tokenStart}${text.slice(start, end)}","ack":true}`;
    at = text.indexOf(tokenStart, end);
  }
  return items;
}

async function consume(name: string): Promise<void> {
  const ask = (items: string): void => {
    const body = `{"worker":"${name}","max":${max},"waitSeconds":${waitSeconds},"settle":[${items}]}`;
    connection.send(
      `POST /v1/subscriptions/${subscription}/leases HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
  };
  const connection = await HttpConnection.open({
    port: Number(port),
    readBytes: 1_048_576,
    onBroken: stop,
    onAnswer({ status, body }) {
      const text = body.toString('latin1');
      const leases = text.indexOf('"leases":[');
      const refused = text.indexOf('"code"');
      if (status !== 200 || leases < 0 || (refused >= 0 && refused < leases))
        return stop(new Error(`${status} ${text.slice(0, 300)}`));
      ask(settle(text, leases));
    },
  });
  ask('');
}

process.on('disconnect', () => process.exit(0));
Promise.all(Array.from({ length: Number(connections) }, (_, i) => consume(`bench-${i + 1}`))).then(
  () => process.send!('ready'),
  stop,
);
