// Disks that are filled and freed again and again, three times under each server: what a server leaves in its file makes each time another one.
import { test } from 'node:test';
import { makeSmallDisk } from '../support/small-disk.ts';
import { diskFullRun } from './disk-full-run.ts';

const rounds = Number(process.env['FAULT_ROUNDS'] ?? 7);

for (let round = 0; round < rounds; round++) {
  test(
    `round ${round + 1} of ${rounds}: three times full and freed, the same server refuses, records what runs, and takes work again`,
    { timeout: 300_000 },
    async (t) => {
      const disk = await makeSmallDisk(t, { megabytes: 160 });
      if (typeof disk === 'string') return t.skip(`skipped: ${disk}`);
      await diskFullRun(t, disk, { cycles: 3 });
    },
  );
}
