// Sends one HTTP request and shows what went over the wire, `>` to the server and `<` from it.
import { request } from 'node:http';

/** Header fields of every answer that say nothing about this example. */
const dull = new Set(['date', 'connection', 'keep-alive', 'content-length', 'request-id', 'x-content-type-options']);

/**
 * @param {string} url
 * @param {{ method?: string, headers?: Record<string, string>, body?: string, show?: 'all' | 'first lines' | 'nothing', signal?: AbortSignal }} options
 * @returns {Promise<{ status: number, header: (name: string) => string | undefined, body: any, ms: number }>} `body` is parsed JSON, undefined where there is none
 */
export function exchange(url, { method = 'GET', headers = {}, body, show = 'all', signal } = {}) {
  const startedAt = performance.now();
  const { pathname, search } = new URL(url);
  const line = (/** @type {string} */ text) => show !== 'nothing' && console.log(`  ${text}`);
  line(`> ${method} ${pathname}${search} HTTP/1.1`);
  if (show === 'all') {
    for (const [name, value] of Object.entries(headers)) line(`> ${name}: ${value}`);
    if (body !== undefined) line(`> ${body}`);
  }
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, signal, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => (text += chunk));
      response.on('error', reject);
      response.on('end', () => {
        const ms = performance.now() - startedAt;
        const waited = ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
        line(`< HTTP/1.1 ${response.statusCode} ${response.statusMessage}   (after ${waited})`);
        const { rawHeaders } = response;
        for (let i = 0; i < rawHeaders.length; i += 2) {
          const lower = rawHeaders[i].toLowerCase();
          if (show === 'all' ? !dull.has(lower) : lower === 'retry-after')
            line(`< ${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
        }
        if (show === 'all') line(`< ${text}`);
        resolve({
          status: response.statusCode ?? 0,
          header: (name) => /** @type {string | undefined} */ (response.headers[name]),
          body: text === '' ? undefined : JSON.parse(text),
          ms,
        });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
