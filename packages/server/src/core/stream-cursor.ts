// Where a stream of many operations stands, in few bytes: the newest version told of each, in the order of their ids.

/** Seven bits of a version in each byte, the highest one says that there is more: most versions take one. */
export function packVersions(versions: readonly number[]): string {
  const bytes: number[] = [];
  for (const version of versions) {
    let left = version;
    for (; left > 127; left = Math.floor(left / 128)) bytes.push((left % 128) + 128);
    bytes.push(left);
  }
  return Buffer.from(bytes).toString('base64url');
}

export function unpackVersions(text: string): number[] {
  const versions: number[] = [];
  let version = 0;
  let unit = 1;
  for (const byte of Buffer.from(text, 'base64url')) {
    version += (byte % 128) * unit;
    unit *= 128;
    if (byte > 127) continue;
    versions.push(version);
    version = 0;
    unit = 1;
  }
  return versions;
}
