import { variant } from '../support/variant.ts';
variant.hints = false;
variant.pollMs = 20;
await import('./websocket.test.ts');
