// A small REST API as there are many: slow, with its own key, errors and files, and without a word about Waitless in it.
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';

const port = Number(process.env.PORT || 0);
const key = process.env.ARCHIVE_KEY || 'archive-secret';
/** Factor on every wait: 1 is 2 s for a report, tests take less. */
const pace = Number(process.env.ARCHIVE_PACE || 1);

/** Years whose sums have been computed once; the first try always fails, as old machines do. */
const warm = new Set();
let atOnce = 0;

const fault = (status, why) => ({
  status,
  headers: { 'Content-Type': 'application/vnd.archive.fault+json' },
  body: JSON.stringify({ fault: why }),
});

/** Every number in full: no parser that reads numbers as floating point gives these digits back. */
function monthly(year) {
  const lines = Array.from({ length: 12 }, (_, month) => `    "${month + 1}": 90071992547409${year}.${month}50`);
  return {
    status: 200,
    headers: { 'Content-Type': 'application/json', 'X-Archive-Shelf': 'north 7' },
    body: `{ "year": ${year},\n  "sums": {\n${lines.join(',\n')} } }\n`,
  };
}

/** A file whose bytes are no text in any encoding. */
function scan(year) {
  const bytes = Buffer.alloc(64 * 1024);
  for (let index = 0; index < bytes.length; index++) bytes[index] = (index * index + Number(year)) % 256;
  return {
    status: 200,
    headers: {
      'Content-Type': 'application/pdf',
      'Content-Disposition': `attachment; filename="report-${year}.pdf"`,
    },
    body: bytes,
  };
}

/** The routes, by method and path. `ms` is how long the archive needs for the answer. */
const routes = {
  'GET /reports/monthly': { ms: 2000, answer: ({ year }) => monthly(year) },
  'GET /reports/scan.pdf': { ms: 1500, answer: ({ year }) => scan(year) },
  'GET /reports/yearly': {
    ms: 500,
    answer({ year }) {
      if (warm.has(year)) return { status: 200, headers: { 'Content-Type': 'text/plain' }, body: `${year}: 1080\n` };
      warm.add(year);
      return fault(500, 'the archive stumbled');
    },
  },
  'POST /reports': {
    ms: 1000,
    answer(_, body) {
      let order;
      try {
        order = JSON.parse(body);
      } catch {
        return fault(400, 'that is no JSON');
      }
      if (!Number.isInteger(order?.year)) return fault(422, 'year must be a whole number');
      const headers = { 'Content-Type': 'application/json', Location: `/reports/monthly?year=${order.year}` };
      return { status: 201, headers, body: `{"ordered":${order.year}}\n` };
    },
  },
};

const server = createServer(async (request, response) => {
  const url = new URL(request.url ?? '/', 'http://archive');
  const body = await text(request);
  const send = ({ status, headers, body: bytes }) => response.writeHead(status, headers).end(bytes);
  if (request.headers['x-archive-key'] !== key) return send(fault(401, 'X-Archive-Key is missing or wrong'));
  const name = `${request.method} ${url.pathname}`;
  if (!Object.hasOwn(routes, name)) return send(fault(404, `there is no ${url.pathname} in this archive`));
  const { ms, answer } = routes[name];
  atOnce++;
  console.log(`${request.method} ${request.url} (${atOnce} at once)`);
  await pause(ms * pace);
  atOnce--;
  send(answer(Object.fromEntries(url.searchParams), body));
});
server.listen(port, '127.0.0.1', () => console.log(`archive ready: http://127.0.0.1:${server.address().port}`));

process.once('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
});
