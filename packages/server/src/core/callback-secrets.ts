// The secrets that callbacks of a namespace are signed with: generated here, kept sealed in the store, shown once, replaced with an overlap.
import { randomBytes } from 'node:crypto';
import { WaitlessError } from '@waitless/protocol';
import type { Engine } from '../engine/engine.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { seal, type SealingKey, unseal } from '../lib/seal.ts';
import type { Service } from '../lib/service.ts';
import { locked, type SecretKey } from './secret-key.ts';

export interface CallbackSecret {
  id: string;
  /** `whsec_` and base64, as Standard Webhooks has it. */
  secret: string;
}

/** A secret as it may be listed. */
export interface ListedSecret {
  id: string;
  createdAt: number;
  /** When an older one stops signing; null for the newest. */
  validUntil: number | null;
  /** False: sealed with another key than this server's. */
  readable: boolean;
}

export interface Rotated extends CallbackSecret {
  createdAt: number;
  /** The one before, which goes on for a while. */
  previous: { id: string; validUntil: number } | null;
}

export interface CallbackSecretsDependencies {
  engine: Pick<Engine, 'save' | 'remove' | 'list' | 'onSignal'>;
  key: SecretKey;
  clock: Clock;
  /** Longest that what was read is believed without a hint. */
  everyMs?: number | undefined;
  log: Log;
}

/** A document of the store. Written once: when it ends follows from the one after it, so that nodes never write the same one. */
interface Kept {
  namespace: string;
  id: string;
  createdAt: number;
  /** How long the one before goes on. */
  overlapMs: number;
  keyId: string;
  sealed: string;
}

const kind = 'callback-secret';
/** One that signs and one that receivers still check by. */
const mostCurrent = 2;
/** Of the 24 to 64 that Standard Webhooks allows; as many as the hash of the signature has. */
const secretBytes = 32;
const pollMs = 5000;

export class CallbackSecrets implements Service {
  readonly name = 'callback secrets';
  readonly #d: CallbackSecretsDependencies;
  #warning: string | undefined;
  #read: { all: Promise<Kept[]>; at: number } | undefined;
  /** Of what was read last, by the newest that is in use: to read the key's file and open a secret for each callback took half of what a callback takes. */
  readonly #opened = new WeakMap<Kept, { count: number; secrets: Promise<CallbackSecret[]> }>();
  /** Changes of this process one after another, so that twins do not both find nothing. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(dependencies: CallbackSecretsDependencies) {
    this.#d = dependencies;
    dependencies.engine.onSignal((signal) => {
      if (signal.kind === 'documents') this.#read = undefined;
    });
  }

  /** What an operator should know, in sentences. */
  get warnings(): string[] {
    return this.#warning === undefined ? [] : [this.#warning];
  }

  /** Looks whether the secrets of the store can be used here; the server starts in any case. */
  async start(): Promise<void> {
    const all = await this.#all();
    await this.#drop(all);
    if (all.length === 0) return;
    try {
      const key = await this.#d.key.find();
      const foreign = new Set(byNamespace(all).flatMap((own) => (own[0]!.keyId === key?.id ? [] : own[0]!.namespace)));
      if (foreign.size === 0) return;
      this.#warning = `the callback secrets of ${foreign.size === 1 ? 'the namespace' : 'the namespaces'} ${[...foreign].join(', ')} ${this.#how(key)}`;
    } catch (error) {
      this.#warning = (error as Error).message;
    }
    this.#d.log.warn('secrets.locked', { detail: this.#warning });
  }

  async stop(): Promise<void> {
    await this.#turn.catch(() => {});
  }

  /** Those of a namespace that are in use, newest first, and no value of any. Makes none. */
  async list(namespace: string): Promise<ListedSecret[]> {
    const own = this.#current(await this.#all(), namespace);
    if (own.length === 0) return [];
    const key = await this.#told(namespace, () => this.#d.key.find());
    this.#refuseForeign(own, key);
    return own.map(({ id, createdAt, keyId }, index) => ({
      id,
      createdAt,
      validUntil: endOf(own, index),
      readable: keyId === key?.id,
    }));
  }

  /** A new one, the only time that its value is told. The one before goes on for `overlapMs`, any older one ends now. */
  rotate(namespace: string, { overlapMs }: { overlapMs: number }): Promise<Rotated> {
    return this.#inTurn(async () => {
      const key = await this.#told(namespace, () => this.#d.key.make());
      const [before] = this.#current(await this.#all(), namespace);
      const made = await this.#make(namespace, { key, overlapMs, before });
      await this.#drop(await this.#all());
      const { log } = this.#d;
      log.info?.('secrets.rotated', { namespace, id: made.id, overlapMs });
      const validUntil = made.createdAt + overlapMs;
      return { ...made, previous: before && overlapMs > 0 ? { id: before.id, validUntil } : null };
    });
  }

  /** What to sign with, newest first, one signature for each; the first is made when a namespace has none. Throws `secrets-locked`. */
  async current(namespace: string): Promise<CallbackSecret[]> {
    const own = this.#current(await this.#recent(), namespace);
    if (own.length > 0) return this.#openOnce(own);
    return this.#inTurn(async () => {
      const all = await this.#all();
      const key = await this.#told(namespace, () => this.#keyForFirst(all));
      if (this.#current(all, namespace).length === 0)
        await this.#make(namespace, { key, overlapMs: defaultOverlapMs, before: undefined });
      // Another node may have made one in the same moment; then both are in use.
      return this.#open(this.#current(await this.#all(), namespace), key);
    });
  }

  /** A second key beside the one of the other nodes would look well here and be useless there. */
  async #keyForFirst(all: readonly Kept[]): Promise<SealingKey> {
    const { key } = this.#d;
    if (all.length === 0) return key.make();
    const found = await key.find();
    const newest = all.reduce((a, b) => (newestFirst(a, b) < 0 ? a : b));
    if (newest.keyId !== found?.id) throw locked(`the secrets of this store ${this.#how(found)}`);
    return found;
  }

  async #make(
    namespace: string,
    { key, overlapMs, before }: { key: SealingKey; overlapMs: number; before: Kept | undefined },
  ): Promise<CallbackSecret & { createdAt: number }> {
    const { engine, clock } = this.#d;
    const id = `cs_${randomBytes(8).toString('hex')}`;
    const secret = `whsec_${randomBytes(secretBytes).toString('base64')}`;
    const createdAt = Math.max(clock.now(), (before?.createdAt ?? 0) + 1);
    const sealed = seal({ key, content: Buffer.from(secret), about: aboutOf({ namespace, id }) });
    const kept: Kept = { namespace, id, createdAt, overlapMs, keyId: key.id, sealed };
    await engine.save({ kind, name: nameOf(kept), text: JSON.stringify(kept), savedAt: createdAt });
    return { id, secret, createdAt };
  }

  /** What cannot be opened is tried again by the next one. */
  #openOnce(own: readonly Kept[]): Promise<CallbackSecret[]> {
    const newest = own[0]!;
    const known = this.#opened.get(newest);
    // The one before may have ended meanwhile.
    if (known?.count === own.length) return known.secrets;
    const secrets = this.#told(newest.namespace, () => this.#d.key.find()).then((key) => this.#open(own, key));
    this.#opened.set(newest, { count: own.length, secrets });
    secrets.catch(() => this.#opened.delete(newest));
    return secrets;
  }

  #open(own: readonly Kept[], key: SealingKey | undefined): CallbackSecret[] {
    this.#refuseForeign(own, key);
    return own.flatMap((kept, index) => {
      const content = key && unseal({ key, sealed: kept.sealed, about: aboutOf(kept) });
      if (content) return [{ id: kept.id, secret: Buffer.from(content).toString() }];
      if (index > 0) return [];
      throw locked(`the secret ${kept.id} was changed in the store and cannot be opened; rotate it`);
    });
  }

  /** Receivers know the newest or will; without it a signature is worth nothing. */
  #refuseForeign(own: readonly Kept[], key: SealingKey | undefined): void {
    const [newest] = own;
    if (newest === undefined || newest.keyId === key?.id) return;
    if (newest.namespace !== 'default') throw locked(`the callback secrets of this namespace ${elsewhere}`);
    throw locked(`the callback secrets of this namespace ${this.#how(key)}`);
  }

  #how(key: SealingKey | undefined): string {
    const { place } = this.#d.key;
    return key === undefined
      ? `cannot be opened: the secret key they were sealed with is not there (${place}); bring back that file, or rotate: npx waitless secrets rotate`
      : `cannot be opened: they were sealed with another secret key than the one in ${place}; bring back the file they were made with, or rotate: npx waitless secrets rotate`;
  }

  /** Paths of the server are no business of a namespace that does not run it. */
  async #told<T>(namespace: string, use: () => Promise<T>): Promise<T> {
    try {
      return await use();
    } catch (error) {
      if (namespace === 'default' || !(error instanceof WaitlessError) || error.code !== 'secrets-locked') throw error;
      this.#d.log.warn('secrets.locked', { namespace, detail: error.message });
      throw locked(`the callback secrets of this namespace ${elsewhere}`);
    }
  }

  #inTurn<T>(use: () => Promise<T>): Promise<T> {
    const next = this.#turn.catch(() => {}).then(use);
    this.#turn = next;
    return next;
  }

  #recent(): Promise<Kept[]> {
    const now = performance.now();
    if (!this.#read || now - this.#read.at >= (this.#d.everyMs ?? pollMs)) {
      const read = { all: this.#all(), at: now };
      this.#read = read;
      // A store that is away is asked again by the next one.
      read.all.catch(() => this.#read === read && (this.#read = undefined));
    }
    return this.#read.all;
  }

  async #all(): Promise<Kept[]> {
    return (await this.#d.engine.list(kind)).map(({ text }) => JSON.parse(text) as Kept);
  }

  /** Those in use, newest first. */
  #current(all: readonly Kept[], namespace: string): Kept[] {
    const own = all.filter((one) => one.namespace === namespace).sort(newestFirst);
    const now = this.#d.clock.now();
    return own.slice(0, mostCurrent).filter((_, index) => (endOf(own, index) ?? Infinity) > now);
  }

  /** Removes those that are not in use any more. */
  async #drop(all: readonly Kept[]): Promise<void> {
    for (const own of byNamespace(all)) {
      const inUse = new Set(this.#current(own, own[0]!.namespace));
      for (const one of own) if (!inUse.has(one)) await this.#d.engine.remove({ kind, name: nameOf(one) });
    }
  }
}

export const defaultOverlapMs = 24 * 3600 * 1000;

const elsewhere =
  "cannot be opened here: the server's secret key file is missing or another one, and its log says which; its operator has to bring it back, or rotate: npx waitless secrets rotate";

const nameOf = ({ namespace, id }: Pick<Kept, 'namespace' | 'id'>): string => `${namespace}/${id}`;
const aboutOf = ({ namespace, id }: Pick<Kept, 'namespace' | 'id'>): string[] => ['callback secret', namespace, id];
const newestFirst = (a: Kept, b: Kept): number => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1);

/** Of one namespace, newest first. Without an overlap it has ended whatever the clock of this node says. */
function endOf(own: readonly Kept[], index: number): number | null {
  const next = own[index - 1];
  if (next === undefined) return null;
  return next.overlapMs === 0 ? 0 : next.createdAt + next.overlapMs;
}

function byNamespace(all: readonly Kept[]): Kept[][] {
  return [...Map.groupBy(all, ({ namespace }) => namespace).values()].map((own) => own.sort(newestFirst));
}
