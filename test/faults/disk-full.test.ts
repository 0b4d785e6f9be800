// A full disk: new work is refused for certain, running work is still recorded, reading goes on, and it heals by itself.
import { test } from 'node:test';
import { makeSmallDisk } from '../support/small-disk.ts';
import { diskFullRun } from './disk-full-run.ts';

test(
  'on a full disk submits get 507, reads and running work go on, nothing is lost, and freed space is used without a restart',
  { timeout: 120_000 },
  async (t) => {
    const disk = await makeSmallDisk(t, { megabytes: 80 });
    if (typeof disk === 'string') return t.skip(`skipped: ${disk}`);
    await diskFullRun(t, disk, { cycles: 1 });
  },
);
