// A pull worker in a process of its own: some connections, each settling its last batch and leasing the next in one request.
//
// Arguments: ports with commas between, service, connections, which are divided among the ports. It answers every operation with the same small reply and reads of a lease only its token.
import { HttpConnection } from './http-connection.ts';
import { replyBody } from './payload.ts';

const max = 64;
const waitSeconds = 20;

const [portsText, service, connectionsText] = process.argv.slice(2) as [string, string, string];
const ports = portsText.split(',').map(Number);
const tokenStart = '{"token":"';
const reply = `","reply":{"status":200,"headers":{"Content-Type":"application/json"},"body":${replyBody}}}`;

function stop(error: Error): void {
  process.stderr.write(`the pull worker had to stop: ${error.message}\n`);
  process.exit(1);
}

/** Puts the answers of a batch together. The request bodies in it are ours and hold no text that looks like a token. */
function settle(text: string, from: number): string {
  let items = '';
  for (let at = text.indexOf(tokenStart, from); at >= 0;) {
    const start = at + tokenStart.length;
    const end = text.indexOf('"', start);
    items += `${items === '' ? '' : ','}${tokenStart}${text.slice(start, end)}${reply}`;
    at = text.indexOf(tokenStart, end);
  }
  return items;
}

async function work(name: string, port: number): Promise<void> {
  const ask = (items: string): void => {
    const body = `{"worker":"${name}","max":${max},"waitSeconds":${waitSeconds},"settle":[${items}]}`;
    connection.send(
      `POST /v1/services/${service}/leases HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
  };
  const connection = await HttpConnection.open({
    port,
    readBytes: 131_072,
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
Promise.all(
  Array.from({ length: Number(connectionsText) }, (_, i) => work(`bench-${i + 1}`, ports[i % ports.length]!)),
).then(() => process.send!('ready'), stop);
