// A WebSocket client that sends exactly the bytes it is given, and tells what came back: frames, and with which code it was closed.
import { connect, type Socket } from 'node:net';
import { requestBytes } from './raw-http.ts';

export interface FrameParts {
  /** Default 1, text. */
  opcode?: number;
  fin?: boolean;
  /** Reserved bits, 0 to 7. */
  reserved?: number;
  masked?: boolean;
  /** Says another length than it has. */
  length?: number;
}

/** One frame of a client. */
export function frameBytes(
  payload: string | Uint8Array,
  { opcode = 1, fin = true, reserved = 0, masked = true, length: told }: FrameParts = {},
): Buffer {
  const bytes = Buffer.from(payload as Uint8Array);
  const length = told ?? bytes.length;
  const short = length < 126 ? length : length < 65_536 ? 126 : 127;
  const head = [(fin ? 0x80 : 0) | (reserved << 4) | opcode, (masked ? 0x80 : 0) | short];
  const more = Buffer.alloc(short === 126 ? 2 : short === 127 ? 8 : 0);
  if (short === 126) more.writeUInt16BE(length);
  if (short === 127) more.writeBigUInt64BE(BigInt(length));
  const mask = masked ? Buffer.from([1, 2, 3, 4]) : Buffer.alloc(0);
  const body = masked ? bytes.map((byte, i) => byte ^ mask[i % 4]!) : bytes;
  return Buffer.concat([Buffer.from(head), more, mask, body]);
}

export const handshake: readonly (readonly [string, string])[] = [
  ['Connection', 'Upgrade'],
  ['Upgrade', 'websocket'],
  ['Sec-WebSocket-Version', '13'],
  ['Sec-WebSocket-Key', 'AQIDBAUGBwgJCgsMDQ4PEA=='],
  ['Sec-WebSocket-Protocol', 'waitless.v1'],
];

export interface RawWebSocket {
  readonly socket: Socket;
  /** Texts that came, in order. */
  readonly texts: string[];
  send(payload: string | Uint8Array, parts?: FrameParts): void;
  sendRaw(bytes: Uint8Array): void;
  /** Resolves once so many texts are there. */
  got(count: number): Promise<string[]>;
  /** The code of the server's close frame; 1006 where the connection ended without one. */
  readonly closed: Promise<number>;
  destroy(): void;
}

/** An open WebSocket. */
export function rawWebSocket(
  port: number,
  {
    headers = handshake,
    path = '/v1/stream',
    paused = false,
  }: { headers?: typeof handshake; path?: string; paused?: boolean } = {},
): Promise<RawWebSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    let unread: Buffer = Buffer.alloc(0);
    let open = false;
    let code: number | undefined;
    const ended = Promise.withResolvers<number>();
    const texts: string[] = [];
    let news = (): void => {};
    const raw: RawWebSocket = {
      socket,
      texts,
      send: (payload, parts) => socket.write(frameBytes(payload, parts)),
      sendRaw: (bytes) => socket.write(bytes),
      got: async (count) => {
        while (texts.length < count && !socket.destroyed) await new Promise<void>((wake) => (news = wake));
        return texts;
      },
      closed: ended.promise,
      destroy: () => socket.destroy(),
    };
    socket.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk]);
      if (!open) {
        const end = unread.indexOf('\r\n\r\n');
        if (end < 0) return;
        const head = unread.toString('latin1', 0, end);
        if (!head.startsWith('HTTP/1.1 101 ')) return reject(new Error(head));
        open = true;
        unread = unread.subarray(end + 4);
        if (paused) socket.pause();
        resolve(raw);
      }
      for (;;) {
        const found = takeFrame(unread);
        if (!found) break;
        unread = unread.subarray(found.size);
        if (found.opcode === 1) texts.push(found.payload.toString('utf8'));
        if (found.opcode === 8) {
          code = found.payload.length >= 2 ? found.payload.readUInt16BE(0) : 1005;
          socket.end();
        }
      }
      news();
    });
    socket.once('connect', () => socket.write(requestBytes({ path, headers })));
    socket.on('error', reject);
    socket.on('close', () => {
      ended.resolve(code ?? 1006);
      news();
    });
  });
}

function takeFrame(bytes: Buffer): { opcode: number; payload: Buffer; size: number } | undefined {
  if (bytes.length < 2) return undefined;
  const short = bytes[1]! & 0x7f;
  const head = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (bytes.length < head) return undefined;
  const length = head === 2 ? short : head === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (bytes.length < head + length) return undefined;
  return { opcode: bytes[0]! & 0x0f, payload: bytes.subarray(head, head + length), size: head + length };
}
