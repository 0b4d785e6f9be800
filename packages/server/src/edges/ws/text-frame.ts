// From JSON to the bytes of a WebSocket message (RFC 6455 5.2), put together once for all sockets that get the same.

/** FIN and the opcode of text. */
const wholeText = 0x81;

/** One message, unmasked as a server's must be. */
export function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const bytes = Buffer.allocUnsafe(head + length);
  bytes[0] = wholeText;
  if (head === 2) bytes[1] = length;
  else if (head === 4) {
    bytes[1] = 126;
    bytes.writeUInt16BE(length, 2);
  } else {
    bytes[1] = 127;
    bytes.writeUInt32BE(0, 2);
    bytes.writeUInt32BE(length, 6);
  }
  bytes.write(text, head);
  return bytes;
}

/** One message of these frames. */
export const messageOf = (frames: readonly string[]): string =>
  frames.length === 1 ? frames[0]! : `[${frames.join(',')}]`;

/** Of a frame's JSON what comes after its type. */
export const refMember = (ref: string | undefined): string =>
  ref === undefined ? '' : `,"ref":${JSON.stringify(ref)}`;
