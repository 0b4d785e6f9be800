// Ten thousand streams that are cut: as many as a proxy drops when it restarts.
import { test } from 'node:test';
import { cutStreams } from './cut-streams-run.ts';

test('T55: ten thousand streams that are cut leave nothing behind', (t) => cutStreams(t, 10_000));
