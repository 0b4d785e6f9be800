// An HTTP/1.1 client that sends exactly the bytes it is given: hostile input must not be tidied up by a well-behaved client on the way.
import { connect, type Socket } from 'node:net';

export interface RawResponse {
  status: number;
  /** Lower-case name and value in turn of appearance. */
  fields: [string, string][];
  /** First value of a field by lower-case name. */
  header(name: string): string | undefined;
  body: Buffer;
  text: string;
  json<T = Record<string, unknown>>(): T;
}

export interface RequestParts {
  method?: string;
  path?: string;
  /** Sent as given, after Host (which `host: null` leaves out). */
  headers?: readonly (readonly [string, string])[];
  host?: string | null;
  body?: string | Uint8Array;
}

/** The bytes of a request; Content-Length is added for a body unless a header of the list frames it. */
export function requestBytes({
  method = 'GET',
  path = '/',
  headers = [],
  host = 'localhost',
  body,
}: RequestParts): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`];
  if (host !== null) lines.push(`Host: ${host}`);
  for (const [name, value] of headers) lines.push(`${name}: ${value}`);
  const bytes = body === undefined ? Buffer.alloc(0) : Buffer.from(body as Uint8Array);
  const framed = headers.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name));
  if (body !== undefined && !framed) lines.push(`Content-Length: ${bytes.length}`);
  // One byte per character: a test names the bytes of a header, not its letters.
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), bytes]);
}

/** A chunked body of one chunk per part. */
export function chunked(...parts: (string | Uint8Array)[]): Buffer {
  const pieces = parts.flatMap((part) => {
    const bytes = Buffer.from(part as Uint8Array);
    return [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')];
  });
  return Buffer.concat([...pieces, Buffer.from('0\r\n\r\n')]);
}

/** One connection. Reads nothing until it is asked to, so a test can be a slow reader. */
export class RawConnection {
  readonly socket: Socket;
  /** Statuses of the 1xx answers that `response` has passed over. */
  readonly interim: number[] = [];
  #chunks: Buffer[] = [];
  /** Bytes in `#chunks`. */
  #waiting = 0;
  #over = false;
  #wake = (): void => {};
  #bytes = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {
      this.#over = true;
      this.#wake();
    });
    socket.on('close', () => {
      this.#over = true;
      this.#wake();
    });
    socket.on('end', () => {
      this.#over = true;
      this.#wake();
    });
    socket.on('data', (chunk) => {
      this.#chunks.push(chunk);
      this.#waiting += chunk.length;
      this.#bytes += chunk.length;
      this.#wake();
    });
  }

  static open(port: number, host = '127.0.0.1'): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      // Half open, so that a test can end its side and still read the answer.
      const socket = connect({ port, host, allowHalfOpen: true, noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RawConnection(socket));
      });
    });
  }

  send(bytes: string | Uint8Array): this {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    return this;
  }

  /** No more bytes from this side; the other may still answer. */
  end(): this {
    this.socket.end();
    return this;
  }

  /** True once the server has sent its last byte on this connection. */
  get over(): boolean {
    return this.#over;
  }

  /** Bytes received so far, those taken by `response` included. */
  get bytesReceived(): number {
    return this.#bytes;
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** All that was received and nobody has taken, as one piece. */
  get #received(): Buffer {
    if (this.#chunks.length !== 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!;
  }

  #take(bytes: number): Buffer {
    const all = this.#received;
    this.#chunks = [all.subarray(bytes)];
    this.#waiting -= bytes;
    return all.subarray(0, bytes);
  }

  async #more(): Promise<boolean> {
    if (this.#over) return false;
    await new Promise<void>((resolve) => (this.#wake = resolve));
    return true;
  }

  /** Resolves once the server has closed the connection, with what it had sent and nobody had taken. */
  async closed(): Promise<Buffer> {
    while (await this.#more());
    return this.#received;
  }

  /** The next response that is no 1xx; `null` when the connection ends without one. `head`: it has no body whatever it says. */
  async response({ head = false }: { head?: boolean } = {}): Promise<RawResponse | null> {
    for (;;) {
      const one = await this.#one(head);
      if (!one || one.status >= 200) return one;
      this.interim.push(one.status);
    }
  }

  /** The next response, 1xx included. */
  async #one(head: boolean): Promise<RawResponse | null> {
    let split = -1;
    while ((split = this.#received.indexOf('\r\n\r\n')) < 0) if (!(await this.#more())) return null;
    const [line = '', ...rest] = this.#take(split + 4)
      .toString('latin1', 0, split)
      .split('\r\n');
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(line)?.[1]);
    if (Number.isNaN(status)) throw new Error(`not a status line: ${JSON.stringify(line)}`);
    const fields = rest.map((field): [string, string] => {
      const colon = field.indexOf(':');
      return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
    });
    const header = (name: string): string | undefined => fields.find(([own]) => own === name)?.[1];
    const body =
      head || status < 200 || status === 204 || status === 304
        ? Buffer.alloc(0)
        : header('transfer-encoding') === 'chunked'
          ? await this.#chunkedBody()
          : await this.#exactly(header('content-length'));
    const text = body.toString('utf8');
    return { status, fields, header, body, text, json: <T>() => JSON.parse(text) as T };
  }

  async #exactly(declared: string | undefined): Promise<Buffer> {
    if (declared === undefined) return this.closed();
    const length = Number(declared);
    while (this.#waiting < length)
      if (!(await this.#more())) throw new Error(`the connection ended after ${this.#waiting} of ${length}`);
    return this.#take(length);
  }

  async #chunkedBody(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for (;;) {
      let split = -1;
      while ((split = this.#received.indexOf('\r\n')) < 0) if (!(await this.#more())) throw new Error('broken off');
      const size = Number.parseInt(this.#take(split + 2).toString('latin1', 0, split), 16);
      const chunk = await this.#exactly(String(size + 2));
      if (size === 0) return Buffer.concat(chunks);
      chunks.push(chunk.subarray(0, size));
    }
  }
}

/** One request on a connection of its own. */
export async function exchange(port: number, parts: RequestParts): Promise<RawResponse> {
  const connection = await RawConnection.open(port);
  try {
    const answer = await connection.send(requestBytes(parts)).response({ head: parts.method === 'HEAD' });
    if (!answer) throw new Error(`no answer to ${parts.method ?? 'GET'} ${parts.path ?? '/'}`);
    return answer;
  } finally {
    connection.destroy();
  }
}
