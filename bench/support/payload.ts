// What every row sends and gets back: one body of 1 KB of JSON, and its request as the bytes on the wire.

const size = 1024;

function makeBody(): string {
  const start = '{"customerId":"c-000042","kind":"credit-score","note":"';
  const end = '"}';
  let note = '';
  // Hexadecimal digits in no order: text that a store or a network could not squeeze to nothing.
  for (let x = 123456789; note.length < size - start.length - end.length;) {
    x = (x * 1103515245 + 12345) & 0x7fffffff;
    note += ((x >> 16) & 15).toString(16);
  }
  return start + note + end;
}

export const requestBody: string = makeBody();
/** What the pull worker and the backend answer, and what an end-to-end caller must get, byte for byte. */
export const replyBody = '{"score":712,"ok":true}';

/** A whole POST of the 1 KB body, ready to be written to a socket. */
export function postBytes(port: number, path: string, headers: Readonly<Record<string, string>> = {}): Buffer {
  const extra = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: ${requestBody.length}\r\n${extra.join('')}\r\n${requestBody}`,
    'latin1',
  );
}

export const getBytes = (port: number, path: string): Buffer =>
  Buffer.from(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`, 'latin1');
