// Where somebody wants to be called back: the URL as it is kept, and whether the guard of outbound requests lets anybody be sent there.
import { WaitlessError } from '@waitless/protocol';
import { utf8OfField } from './business-key.ts';

export interface CallbackUrl {
  /** Normalised: as it is kept, shown and called. */
  url: string;
  /** What shares a breaker with it: the same without its query. */
  outlet: string;
}

const mostCharacters = 2048;
const members = { accepted: false };

/** Reads a header's value. Everything that a parser of URLs takes without a word and a person reads as another place is refused. */
export function readCallbackUrl(value: string): CallbackUrl {
  const text = utf8OfField(value)?.trim();
  const invalid = (why: string): WaitlessError =>
    new WaitlessError('invalid-url', `Callback-Url ${why}; send an absolute URL such as https://example.com/done`, {
      members,
    });
  // oxlint-disable-next-line no-control-regex -- a parser drops tabs without a word, in the middle of a host too
  if (text === undefined || /[\0-\x1f\x7f]/.test(text)) throw invalid('has characters that no URL has');
  if (!URL.canParse(text)) throw invalid('is no URL');
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new WaitlessError('unsupported-scheme', 'Callback-Url takes an http or https URL', { members });
  const [, authority = ''] = /^[a-z]+:[\\/]*([^\\/?#]*)/i.exec(text) ?? [];
  if (authority.includes('@') || url.username !== '' || url.password !== '')
    throw new WaitlessError(
      'callback-url-forbidden',
      'Callback-Url must have no user name; what the receiver knows you by belongs into its path or query',
      { members },
    );
  if (authority.includes('%')) throw invalid('has a percent sign in its host');
  // Never sent to anybody.
  url.hash = '';
  if (url.href.length > mostCharacters) throw invalid(`is longer than ${mostCharacters} characters`);
  const { href } = url;
  url.search = '';
  return { url: href, outlet: url.href };
}

const busy = (why: string): WaitlessError =>
  new WaitlessError('overloaded', `${why}; repeat after Retry-After`, { members });

export interface CallbackPlacesDependencies {
  guard: {
    /** Throws unless every address behind the URL may be connected to. */
    check: (url: string) => Promise<void>;
    /** What can be said without looking its host up. */
    fits: (url: string) => boolean;
  };
  /** A clock that only goes on. */
  nowMs?: () => number;
}

/** How long a host that was found good is believed. What is connected to is judged again at every attempt, so this spares look-ups and nothing else. */
const believedMs = 10_000;
const mostBelieved = 1000;
/** Look-ups of different hosts at once: a resolver that hangs must not gather callers without end. */
const mostLookUps = 100;
/** Of one batch, so that it leaves room for others; and how long all of them may take. */
const mostOfBatch = 20;
const batchMs = 10_000;

export class CallbackPlaces {
  readonly #guard: CallbackPlacesDependencies['guard'];
  readonly #now: () => number;
  /** By origin: until when it is believed. */
  readonly #good = new Map<string, number>();
  /** Those that are being looked up. */
  readonly #asked = new Map<string, Promise<void>>();

  constructor({ guard, nowMs = () => performance.now() }: CallbackPlacesDependencies) {
    this.#guard = guard;
    this.#now = nowMs;
  }

  /** Undefined where it may be called, as is known without a look-up; otherwise resolves, or rejects where it may not. */
  judge(url: string): Promise<void> | undefined {
    // Says which of its reasons it is, and looks nothing up for that.
    if (!this.#guard.fits(url)) return this.#guard.check(url);
    const { origin } = new URL(url);
    const until = this.#good.get(origin);
    if (until !== undefined && until > this.#now()) return undefined;
    return this.#asked.get(origin) ?? this.#look(origin, url);
  }

  /** What is wrong with each of those that may not be called. */
  async judgeAll(urls: readonly string[]): Promise<ReadonlyMap<string, Error>> {
    const refused = new Map<string, Error>();
    if (urls.length === 0) return refused;
    const left = [...new Set(urls)];
    const endsAt = this.#now() + batchMs;
    const judgeSome = async (): Promise<void> => {
      for (let url = left.pop(); url !== undefined; url = left.pop()) {
        try {
          if (this.#now() > endsAt) throw busy('the hosts of the callbacks were not found in time');
          await this.judge(url);
        } catch (error) {
          refused.set(url, error as Error);
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(mostOfBatch, left.length) }, judgeSome));
    return refused;
  }

  #look(origin: string, url: string): Promise<void> {
    if (this.#asked.size >= mostLookUps) throw busy('too many hosts of callbacks are being looked up');
    const asked = this.#guard
      .check(url)
      .then(() => this.#believe(origin))
      .finally(() => this.#asked.delete(origin));
    this.#asked.set(origin, asked);
    return asked;
  }

  #believe(origin: string): void {
    // The one that was believed first stands first.
    this.#good.delete(origin);
    if (this.#good.size >= mostBelieved) this.#good.delete(this.#good.keys().next().value!);
    this.#good.set(origin, this.#now() + believedMs);
  }
}
