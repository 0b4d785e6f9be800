// A disk that is filled and freed again and again under one and the same server.
import { test } from 'node:test';
import { makeSmallDisk } from '../support/small-disk.ts';
import { diskFullRun } from './disk-full-run.ts';

test('20 times full and freed: the same server refuses, records what runs, and takes work again, every time', async (t) => {
  const disk = await makeSmallDisk(t, { megabytes: 160 });
  if (typeof disk === 'string') return t.skip(`skipped: ${disk}`);
  await diskFullRun(t, disk, { cycles: 20 });
});
