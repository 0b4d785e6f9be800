// A hundred thousand guesses: what a machine tries in a minute.
import { test } from 'node:test';
import { guess } from './guessing-run.ts';

test('a hundred thousand guessed ids and tokens are nothing', (t) => guess(t, 100_000));
