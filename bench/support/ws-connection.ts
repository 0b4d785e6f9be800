// A WebSocket client as cheap as Node allows: it shares two cores with the server that is measured.
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

export interface WsOptions {
  port: number;
  onMessage: (text: string) => void;
  onBroken: (error: Error) => void;
}

/** A message of text, masked as a client's must be (RFC 6455 5.3). */
export function maskedText(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const bytes = Buffer.alloc(head + 4 + length);
  bytes[0] = 0x81;
  if (head === 2) bytes[1] = 0x80 | length;
  else if (head === 4) {
    bytes[1] = 0x80 | 126;
    bytes.writeUInt16BE(length, 2);
  } else {
    bytes[1] = 0x80 | 127;
    bytes.writeUInt32BE(length, 6);
  }
  const mask = [0x37, 0xfa, 0x21, 0x3d];
  for (let i = 0; i < 4; i++) bytes[head + i] = mask[i]!;
  bytes.write(text, head + 4);
  for (let i = 0, at = head + 4; i < length; i++, at++) bytes[at] = bytes[at]! ^ mask[i & 3]!;
  return bytes;
}

export class WsConnection {
  readonly #socket: Socket;
  #unread: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static open({ port, onMessage, onBroken }: WsOptions): Promise<WsConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
      const connection = new WsConnection(socket);
      socket.once('connect', () =>
        socket.write(
          `GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
            `Sec-WebSocket-Protocol: waitless.v1\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
        ),
      );
      let open = false;
      socket.on('data', (chunk: Buffer) => {
        let bytes = connection.#unread.length === 0 ? chunk : Buffer.concat([connection.#unread, chunk]);
        if (!open) {
          const end = bytes.indexOf('\r\n\r\n');
          if (end < 0) return void (connection.#unread = bytes);
          if (bytes.toString('latin1', 9, 12) !== '101') return reject(new Error(bytes.toString('latin1', 0, 300)));
          open = true;
          bytes = bytes.subarray(end + 4);
          resolve(connection);
        }
        connection.#unread = read(bytes, onMessage);
      });
      socket.once('error', open ? onBroken : reject);
      socket.once('close', () => onBroken(new Error('the server closed the connection')));
    });
  }

  send(text: string): void {
    this.#socket.write(maskedText(text));
  }

  close(): void {
    this.#socket.removeAllListeners('close').destroy();
  }
}

/** Takes whole messages; gives what is left. */
function read(bytes: Buffer, onMessage: (text: string) => void): Buffer {
  let at = 0;
  while (bytes.length >= at + 2) {
    const short = bytes[at + 1]!;
    const head = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (bytes.length < at + head) break;
    const length = head === 2 ? short : head === 4 ? bytes.readUInt16BE(at + 2) : bytes.readUInt32BE(at + 6);
    if (bytes.length < at + head + length) break;
    // Pings need no answer within a run.
    if ((bytes[at]! & 0x0f) === 1) onMessage(bytes.toString('latin1', at + head, at + head + length));
    at += head + length;
  }
  return bytes.subarray(at);
}
