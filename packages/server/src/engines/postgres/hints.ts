// What nodes tell each other: LISTEN and NOTIFY, as hints only. What gets lost is found by slow polls.
//
// NOTIFY within a writing transaction takes a lock across the whole server until its commit is synced, so hints go out after the commit, on their
// own connection, gathered for a few milliseconds. A node that is alone says nothing.
import pg from 'pg';
import { pause } from '../../lib/service.ts';
import { destroySocket, endSession, within } from './session.ts';

export interface Hint {
  /** Operations that moved on. */
  changed: number[];
  /** Operations that ended. */
  ended: number[];
  /** Queues in which something became ready. */
  queues: number[];
  /** Namespaces whose log has grown. */
  logs: string[];
  /** Named documents were saved or removed. */
  documents: boolean;
  /** Something is to be told to somebody outside. */
  deliveries: boolean;
  /** Subscriptions changed, or something of one is to be taken again. */
  subscriptions: boolean;
  /** A node has come. */
  hello: boolean;
}

/** How long hints gather: what a wake-up on another node may take longer for it, against a statement each time. */
const gatherMs = 5;
/** PostgreSQL takes payloads below 8,000 bytes. */
const maxPayload = 7900;
const reconnectMs = 500;
const goodbyeMs = 1000;
/** A listener that hears nothing cannot tell silence from a network that swallows everything, so it asks now and then. */
const probeMs = 2000;
const answerMs = 2000;

/** Words of one letter and a value: `c` changed and `d` ended operation, `q` queue, all in base 36, `e` namespace, `n` named documents, `t` deliveries, `s` subscriptions, `h` hello; the sender's number first. */
export function encodeHints(
  sender: string,
  { changed, ended, queues, logs, documents, deliveries, subscriptions, hello }: Hint,
): string[] {
  const words = [
    ...(hello ? ['h'] : []),
    ...(documents ? ['n'] : []),
    ...(deliveries ? ['t'] : []),
    ...(subscriptions ? ['s'] : []),
    ...queues.map((id) => `q${id.toString(36)}`),
    ...logs.map((namespace) => `e${encodeURIComponent(namespace)}`),
    ...ended.map((seq) => `d${seq.toString(36)}`),
    ...changed.map((seq) => `c${seq.toString(36)}`),
  ];
  const payloads: string[] = [];
  let payload = sender;
  for (const word of words) {
    if (payload.length + 1 + word.length > maxPayload) {
      payloads.push(payload);
      payload = sender;
    }
    payload += ` ${word}`;
  }
  if (payload !== sender) payloads.push(payload);
  return payloads;
}

/** Undefined for what is not a hint of ours: whoever may connect to the database may speak on any channel. */
export function decodeHints(payload: string): { sender: string; hint: Hint } | undefined {
  const [sender = '', ...words] = payload.split(' ');
  const hint: Hint = {
    changed: [],
    ended: [],
    queues: [],
    logs: [],
    documents: false,
    deliveries: false,
    subscriptions: false,
    hello: false,
  };
  for (const word of words) {
    const value = word.slice(1);
    const number = /^[0-9a-z]{1,11}$/.test(value) ? Number.parseInt(value, 36) : undefined;
    if (word[0] === 'c' && number !== undefined) hint.changed.push(number);
    else if (word[0] === 'd' && number !== undefined) hint.ended.push(number);
    else if (word[0] === 'q' && number !== undefined) hint.queues.push(number);
    else if (word[0] === 'e' && isEncoded(value)) hint.logs.push(decodeURIComponent(value));
    else if (word === 'n') hint.documents = true;
    else if (word === 't') hint.deliveries = true;
    else if (word === 's') hint.subscriptions = true;
    else if (word === 'h') hint.hello = true;
    else return undefined;
  }
  return { sender, hint };
}

function isEncoded(value: string): boolean {
  try {
    return encodeURIComponent(decodeURIComponent(value)) === value;
  } catch {
    return false;
  }
}

export class Hints {
  readonly #config: pg.ClientConfig;
  readonly #channel: string;
  readonly #sender: string;
  readonly #onHint: (hint: Hint) => void;
  readonly #isReady: (queue: number) => boolean;
  readonly #hasDeliveries: () => boolean;
  readonly #stop = new AbortController();
  #client: pg.Client | undefined;
  #loop: Promise<void> | undefined;
  #changed = new Set<number>();
  #ended = new Set<number>();
  #queues = new Set<number>();
  #logs = new Set<string>();
  #documents = false;
  #deliveries = false;
  #subscriptions = false;
  #hello = false;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  /** Others listen. */
  #company = false;

  constructor({
    config,
    channel,
    sender,
    onHint,
    isReady,
    hasDeliveries,
  }: {
    config: pg.ClientConfig;
    channel: string;
    sender: string;
    onHint: (hint: Hint) => void;
    /** Whether a queue may still have ready operations when the hint goes out. */
    isReady: (queue: number) => boolean;
    /** Whether something may still wait to be delivered then. */
    hasDeliveries: () => boolean;
  }) {
    this.#config = config;
    this.#channel = channel;
    this.#sender = sender;
    this.#onHint = onHint;
    this.#isReady = isReady;
    this.#hasDeliveries = hasDeliveries;
  }

  set company(there: boolean) {
    this.#company = there;
  }

  /** Resolves when it listens for the first time. */
  start(): Promise<void> {
    return new Promise((resolve) => {
      this.#loop = this.#run(resolve);
    });
  }

  async #run(listening: () => void): Promise<void> {
    const stop = this.#stop.signal;
    while (!stop.aborted) {
      const client = new pg.Client({ ...this.#config, connectionTimeoutMillis: answerMs });
      const gone = new AbortController();
      const end = (): void => gone.abort();
      client.on('error', end);
      client.on('end', end);
      client.on('notification', ({ payload }) => this.#hear(payload ?? ''));
      stop.addEventListener('abort', end, { once: true });
      try {
        await client.connect();
        await within(client.query(`LISTEN ${pg.escapeIdentifier(this.#channel)}`), answerMs);
        this.#client = client;
        this.#hello = true;
        this.#company = true;
        this.#gather();
        listening();
        await this.#watch(client, gone.signal);
      } catch {
        // Found again by the loop; what is missed meanwhile is found by the polls.
      }
      stop.removeEventListener('abort', end);
      this.#client = undefined;
      listening();
      await endSession(client, goodbyeMs);
      await pause(reconnectMs, stop);
    }
  }

  /** Until the connection is gone, or nobody answers on it. */
  async #watch(client: pg.Client, gone: AbortSignal): Promise<void> {
    for (;;) {
      await pause(probeMs, gone);
      if (gone.aborted) return;
      // What is being sent has a time limit of its own.
      if (!this.#sending) await within(client.query('SELECT 1'), answerMs);
    }
  }

  #hear(payload: string): void {
    const { sender, hint } = decodeHints(payload) ?? {};
    if (!hint || sender === this.#sender) return;
    this.#company = true;
    this.#onHint(hint);
  }

  changed(seqs: Iterable<number>): void {
    if (!this.#company) return;
    for (const seq of seqs) this.#changed.add(seq);
    this.#gather();
  }

  ended(seqs: Iterable<number>): void {
    if (!this.#company) return;
    for (const seq of seqs) this.#ended.add(seq);
    this.#gather();
  }

  queues(ids: Iterable<number>): void {
    if (!this.#company) return;
    for (const id of ids) this.#queues.add(id);
    this.#gather();
  }

  logs(namespaces: Iterable<string>): void {
    if (!this.#company) return;
    for (const namespace of namespaces) this.#logs.add(namespace);
    this.#gather();
  }

  subscriptions(): void {
    if (!this.#company) return;
    this.#subscriptions = true;
    this.#gather();
  }

  documents(): void {
    if (!this.#company) return;
    this.#documents = true;
    this.#gather();
  }

  deliveries(): void {
    if (!this.#company) return;
    this.#deliveries = true;
    this.#gather();
  }

  #gather(): void {
    this.#timer ??= setTimeout(() => {
      // While it is being sent nothing else goes out; what gathers meanwhile is next.
      this.#sending = this.#send().finally(() => {
        this.#sending = this.#timer = undefined;
        const waiting = this.#changed.size + this.#ended.size + this.#queues.size + this.#logs.size;
        if (waiting > 0 || this.#documents || this.#deliveries || this.#subscriptions) this.#gather();
      });
    }, gatherMs);
  }

  async #send(): Promise<void> {
    const client = this.#client;
    const payloads = encodeHints(this.#sender, {
      changed: [...this.#changed].filter((seq) => !this.#ended.has(seq)),
      ended: [...this.#ended],
      // What this node's own takers have taken meanwhile would only have others look in vain.
      queues: [...this.#queues].filter((id) => this.#isReady(id)),
      logs: [...this.#logs],
      documents: this.#documents,
      deliveries: this.#deliveries && this.#hasDeliveries(),
      subscriptions: this.#subscriptions,
      hello: this.#hello,
    });
    this.#changed = new Set();
    this.#ended = new Set();
    this.#queues = new Set();
    this.#logs = new Set();
    this.#documents = false;
    this.#deliveries = false;
    this.#subscriptions = false;
    this.#hello = false;
    if (!client) return;
    try {
      for (const payload of payloads)
        await within(client.query('SELECT pg_notify($1, $2)', [this.#channel, payload]), answerMs);
    } catch {
      destroySocket(client);
    }
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    // What this node gave back must not wait for the others' polls; a database that is away keeps nobody from stopping.
    const last = (this.#sending ?? Promise.resolve()).then(() => this.#send());
    await within(last, goodbyeMs).catch(() => {});
    clearTimeout(this.#timer);
    this.#stop.abort();
    await this.#loop;
  }
}
