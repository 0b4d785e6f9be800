// Three credit bureaus that take their time: the reason why the example's API is slow. Same customer, same rating, same wait.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

const names = ['north', 'west', 'south'];

/** Factor on every wait: 1 is 1 to 3 s per bureau, tests take less. */
const pace = Number(process.env.BUREAU_PACE || 1);
/** Ports to listen on, parted by commas; free ones where none are given. */
const ports = (process.env.BUREAU_PORTS ?? '').split(',').map(Number);

/** Whole number from 0 to 2^32 - 1, always the same for the same words. @param {string[]} words */
const draw = (...words) => createHash('sha256').update(words.join('/')).digest().readUInt32BE();

/** `GET /rating?customer=42`, after 1 to 3 s: `{"bureau":"north","rating":712}`. @param {string} name */
function bureau(name) {
  return createServer(async (request, response) => {
    const customer = new URL(request.url ?? '/', 'http://bureau').searchParams.get('customer') ?? '';
    const hungUp = new AbortController();
    response.once('close', () => hungUp.abort());
    try {
      await pause((1000 + (draw(name, 'wait', customer) % 2000)) * pace, undefined, { signal: hungUp.signal });
    } catch {
      return; // Whoever asked has gone; nobody needs the rating any more.
    }
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify({ bureau: name, rating: 300 + (draw(name, 'rating', customer) % 551) }));
  });
}

const servers = names.map(bureau);
const urls = await Promise.all(
  servers.map(
    (server, index) =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(ports[index] || 0, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}`));
      }),
  ),
);
console.log(`bureaus ready: ${urls.join(',')}`);

process.once('SIGTERM', () => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
});
