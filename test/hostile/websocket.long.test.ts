// The same as in websocket.test.ts, 10,000 times.
import { test } from 'node:test';
import { abruptCloses } from './websocket-run.ts';

test('T55: 10,000 sockets that are cut off leave nothing behind', (t) => abruptCloses(t, 10_000));
