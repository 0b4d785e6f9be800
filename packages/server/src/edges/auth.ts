// Who is asking: every edge finds the namespace of a caller here, and judges Host and Origin where there are no keys.
import { WaitlessError } from '@waitless/protocol';
import type { KeyOwner } from '../config/config-shape.ts';
import { KeyGuesses } from '../lib/key-guesses.ts';
import { limitFields } from '../lib/rate-limit-fields.ts';

export interface AuthOptions {
  /** Finds the owner of an Authorization field; undefined where the server asks for no key. */
  findOwner: ((authorization: string | undefined) => KeyOwner | undefined) | undefined;
  /** Host name of the public URL, where there is one. */
  publicHost: string | undefined;
  corsOrigins: readonly string[];
  /** Milliseconds that never go back; by default those of the process. */
  nowMs?: () => number;
}

export interface Caller {
  host: string;
  origin: string | undefined;
  authorization: string | undefined;
  /** Where the caller is, asked only when a key is wrong. */
  address: () => string;
}

const loopbackHosts = new Set(['localhost', '127.0.0.1', '[::1]']);

const hostName = (host: string): string => host.replace(/:\d+$/, '').toLowerCase();

export class Auth {
  readonly #options: AuthOptions;
  readonly #guesses: KeyGuesses;
  /** Names of keys that were right once: their callers do not wait for what others guess from the same address. */
  readonly #proven = new Set<string>();

  constructor(options: AuthOptions) {
    this.#options = options;
    this.#guesses = new KeyGuesses(options.nowMs ?? (() => performance.now()));
  }

  get keysExist(): boolean {
    return this.#options.findOwner !== undefined;
  }

  /** Where no key protects the server, a web page must not reach it by a name it made resolve to this machine, nor from its own origin. */
  checkPlace({ host, origin }: Caller): void {
    if (this.keysExist) return;
    const name = hostName(host);
    if (!loopbackHosts.has(name) && name !== this.#options.publicHost) {
      throw new WaitlessError(
        'bad-host',
        `Host ${JSON.stringify(host.slice(0, 128))} is not served without an API key; use localhost or start with --public-url or --api-key-file`,
      );
    }
    if (
      origin !== undefined &&
      !this.allowsOrigin(origin) &&
      origin !== `http://${host}` &&
      origin !== `https://${host}`
    ) {
      throw new WaitlessError(
        'origin-not-allowed',
        `Origin ${JSON.stringify(origin.slice(0, 128))} may not call this server; start it with --cors-origin to allow it`,
      );
    }
  }

  allowsOrigin(origin: string): boolean {
    return this.#options.corsOrigins.includes(origin);
  }

  /** The caller's namespace; throws 401, the same for a missing, malformed, unknown or revoked key, and 429 while an address that guesses keys must wait. */
  namespace({ authorization, address }: Caller): string {
    const { findOwner } = this.#options;
    if (!findOwner) return 'default';
    const owner = findOwner(authorization);
    const isProven = owner && this.#proven.has(owner.name);
    if (authorization !== undefined && !isProven && !this.#guesses.quiet) {
      const pauseMs = this.#guesses.pauseMs(address());
      // A right guess is not told apart from a wrong one until the pause is over.
      if (pauseMs > 0)
        throw new WaitlessError('rate-limited', 'too many different keys that are none came from this address', {
          retryAfterSeconds: Math.ceil(pauseMs / 1000),
          headers: limitFields({ name: 'wrong-keys', quota: this.#guesses.free, remaining: 0, untilMs: pauseMs }),
        });
    }
    if (owner && !isProven) this.#proven.add(owner.name);
    if (!owner && authorization !== undefined) this.#guesses.wrong(address(), authorization);
    if (!owner) throw new WaitlessError('unauthenticated', 'send Authorization: Bearer KEY with a key of this server');
    return owner.namespace;
  }
}
