// What `waitless doctor` looks at on this machine: Node, the clock, the port, the folder of the data.
import { access, constants, stat, statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { addressOf, type Finding, finding, whyUnreachable } from './finding.ts';
import { lookAt } from './server.ts';

/** Whether a Node is new enough, by the `engines` field of our package. */
export function checkNode(have: string, needed: string): Finding {
  const numbers = (text: string): number[] => text.replace(/^\D+/, '').split('.').map(Number);
  const [own, least] = [numbers(have), numbers(needed)];
  const difference = least.map((part, index) => (own[index] ?? 0) - part).find((part) => part !== 0) ?? 0;
  return difference < 0
    ? finding('node', 'wrong', `${have} is too old; install Node ${least.join('.')} or newer from https://nodejs.org`)
    : finding('node', 'ok', have);
}

/** Before this nothing of ours existed, so a clock that says so is wrong. */
const firstRelease = Date.parse('2026-01-01T00:00:00Z');
/** Deadlines and leases of two machines whose clocks differ by more are visibly off. */
const mostSkewMs = 5_000;

/** The clock of this machine, and how far it is from the server's where one answered. */
export function checkClock(now: number, skewMs: number | undefined): Finding {
  const shown = new Date(now).toISOString();
  if (now < firstRelease)
    return finding(
      'clock',
      'wrong',
      `it says ${shown}, which is long past; set it, with NTP (timedatectl set-ntp true)`,
    );
  if (skewMs !== undefined && skewMs > mostSkewMs)
    return finding(
      'clock',
      'wrong',
      `this machine and the server differ by ${Math.round(skewMs / 1_000)} s; let both follow NTP (timedatectl set-ntp true)`,
    );
  return finding('clock', 'ok', `${shown}${skewMs === undefined ? '' : ', as on the server'}`);
}

/** Whether a server could listen there, and who does where it could not. */
export async function checkPort({ host, port }: { host: string; port: number }, now: () => number): Promise<Finding> {
  if (port === 0) return finding('port', 'ok', 'a free one, whichever it will be');
  const failure = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    const server = createServer();
    server.once('error', resolve);
    server.listen({ host, port }, () => server.close(() => resolve(undefined)));
  });
  const where = `${port} on ${host}`;
  switch (failure?.code) {
    case undefined:
      return finding('port', 'ok', `${where} is free`);
    case 'EADDRINUSE':
      break;
    case 'EACCES':
      return finding('port', 'wrong', `no permission for ${where}; ports from 1024 up need none: give one with --port`);
    case 'EADDRNOTAVAIL':
      return finding('port', 'wrong', `${host} is not an address of this machine; give one with --host`);
    default:
      return finding('port', 'wrong', `${where} cannot be listened on: ${failure!.message}`);
  }
  const reach = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host;
  const who = await lookAt(`http://${reach}:${port}`, now);
  return who.kind === 'waitless'
    ? finding('port', 'ok', `${where} has a Waitless ${who.version}; for a second server give another with --port`)
    : finding(
        'port',
        'wrong',
        `${where} is taken by something that is not Waitless; stop it or give another with --port`,
      );
}

const mb = 1024 ** 2;
/** Below this the store may be full within minutes of load. */
const littleRoom = 256 * mb;
/** And here a burst of load fills it at once: the log of the store alone grows to 64 MB, beside the 16 MB kept for a full disk. */
const noRoom = 96 * mb;

/** Where the data is, and whether it can be written. Nothing is made. */
export async function checkData(
  store: { kind: 'memory' | 'folder' | 'postgres'; title: string },
  data: string,
  isStoreInUse: (folder: string) => boolean,
): Promise<Finding> {
  if (store.kind === 'memory') return finding('data', 'note', 'in memory: all of it is gone when the server ends');
  if (store.kind === 'postgres') {
    const why = await whyUnreachable(addressOf(data, 5432));
    return why === undefined
      ? finding(
          'data',
          'ok',
          `${store.title} can be reached; user, password and settings are checked when a server starts`,
        )
      : finding('data', 'wrong', `${store.title} cannot be reached: ${why}; start the database or mend --data`);
  }
  let existing = data;
  for (;;) {
    try {
      if (!(await stat(existing)).isDirectory())
        return finding('data', 'wrong', `${existing} is a file and no folder; give a folder with --data`);
      break;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOTDIR' || (code === 'ENOENT' && dirname(existing) !== existing)) existing = dirname(existing);
      else
        return finding('data', 'wrong', `${existing} cannot be looked at (${code}); give another folder with --data`);
    }
  }
  try {
    await access(existing, constants.W_OK | constants.X_OK);
  } catch {
    return finding(
      'data',
      'wrong',
      `${existing} may not be written by this user; change its owner, or give another with --data`,
    );
  }
  if (isStoreInUse(data))
    return finding('data', 'note', `${data} is in use by a server; a second one needs a folder of its own (--data)`);
  const { bavail, bsize } = await statfs(existing);
  const free = bavail * bsize;
  const room = `${free >= 1024 * mb ? `${Math.floor(free / (1024 * mb))} GB` : `${Math.floor(free / mb)} MB`} free`;
  if (free < noRoom)
    return finding('data', 'wrong', `${data}: ${room} only; free some space, or give another disk with --data`);
  const made = existing === data ? '' : ', made at the first start';
  return finding('data', free < littleRoom ? 'note' : 'ok', `${data}${made}, ${room}`);
}
