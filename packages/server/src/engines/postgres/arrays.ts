// Columns of a batch as PostgreSQL arrays in its binary format: a kilobyte of body travels as a kilobyte and nothing is quoted or parsed.
//
// Format (src/backend/utils/adt/arrayfuncs.c, array_recv): dimensions, "has nulls", element type, length, lower bound, then length and bytes of each element.

const oids = { bytea: 17, int8: 20, int4: 23, text: 25, uuid: 2950 } as const;
const headBytes = 20;

function start(type: keyof typeof oids, count: number, bytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(headBytes + bytes);
  buffer.writeInt32BE(1, 0);
  // The server reads the flag but decides by each element's length.
  buffer.writeInt32BE(1, 4);
  buffer.writeInt32BE(oids[type], 8);
  buffer.writeInt32BE(count, 12);
  buffer.writeInt32BE(1, 16);
  return buffer;
}

const low = 0x1_0000_0000;

/** Whole numbers up to 2^53. */
export function int8Array(values: readonly (number | null)[]): Buffer {
  let bytes = 0;
  for (const value of values) bytes += value === null ? 4 : 12;
  const buffer = start('int8', values.length, bytes);
  let at = headBytes;
  for (const value of values) {
    at = buffer.writeInt32BE(value === null ? -1 : 8, at);
    if (value === null) continue;
    const high = Math.floor(value / low);
    at = buffer.writeInt32BE(high, at);
    at = buffer.writeUInt32BE(value - high * low, at);
  }
  return buffer;
}

export function int4Array(values: readonly (number | null)[]): Buffer {
  let bytes = 0;
  for (const value of values) bytes += value === null ? 4 : 8;
  const buffer = start('int4', values.length, bytes);
  let at = headBytes;
  for (const value of values) {
    at = buffer.writeInt32BE(value === null ? -1 : 4, at);
    if (value !== null) at = buffer.writeInt32BE(value, at);
  }
  return buffer;
}

export function textArray(values: readonly (string | null)[]): Buffer {
  const lengths = values.map((value) => {
    if (value === null) return 0;
    // It would be written as another character, and two keys could become one.
    if (!value.isWellFormed()) throw new RangeError('a text has half of a surrogate pair');
    return Buffer.byteLength(value);
  });
  const buffer = start(
    'text',
    values.length,
    lengths.reduce((sum, length) => sum + 4 + length, 0),
  );
  let at = headBytes;
  for (const [i, value] of values.entries()) {
    at = buffer.writeInt32BE(value === null ? -1 : lengths[i]!, at);
    if (value !== null) at += buffer.write(value, at);
  }
  return buffer;
}

export function byteaArray(values: readonly (Uint8Array | null)[]): Buffer {
  const buffer = start(
    'bytea',
    values.length,
    values.reduce((sum, value) => sum + 4 + (value?.length ?? 0), 0),
  );
  let at = headBytes;
  for (const value of values) {
    at = buffer.writeInt32BE(value === null ? -1 : value.length, at);
    if (value === null) continue;
    buffer.set(value, at);
    at += value.length;
  }
  return buffer;
}

/** From 32 hexadecimal digits each. */
export function uuidArray(values: readonly string[]): Buffer {
  const buffer = start('uuid', values.length, values.length * 20);
  let at = headBytes;
  for (const value of values) {
    at = buffer.writeInt32BE(16, at);
    at += buffer.write(value, at, 'hex');
  }
  return buffer;
}
