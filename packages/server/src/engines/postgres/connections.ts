// Connections to the database: a few per purpose, opened when needed, dropped when they fail, so that the database may go away and come back.
import pg from 'pg';
import { isLoss, notReached } from './errors.ts';
import type { Reach } from './reach.ts';
import { destroySocket, endSession, NoAnswer, within } from './session.ts';

export type Cell = number | string | Buffer | boolean | null;
export type Row = Cell[];

/** Prepared once per connection under its name. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

export interface Connection {
  /** Tells this connection from all others of this process: where its counters stand. */
  readonly slot: number;
  run(statement: Statement, values: readonly unknown[], timeoutMs?: number): Promise<Row[]>;
}

/** A connection that takes longer than this is given up. */
const connectTimeoutMs = 2000;
/** A statement that takes longer is given up with its connection: a network that swallows everything looks like this. */
export const statementTimeoutMs = 4000;
/** What the server waits longer than we do; the session setting and this agree. */
const serverGraceMs = 1000;
/** The longest wait for a connection: whoever waits must hear something within five seconds, on a busy machine too. */
const waitMs = 4000;

/** What a statement with so many bytes of bodies may take longer: more than 8 MB, at 4 MB a second, which a busy disk manages. */
export const extraMs = (bytes: number): number => Math.ceil(Math.max(0, bytes - 8 * 1024 * 1024) / 4096);

const asNumber = (text: string): number => Number(text);
const parsers = new Map<number, (text: string) => Cell>([
  [16, (text) => text === 't'],
  [17, (text) => Buffer.from(text.slice(2), 'hex')],
  [20, asNumber],
  [21, asNumber],
  [23, asNumber],
  [701, asNumber],
  [2950, (text) => text.replaceAll('-', '')],
]);
const asText = (text: string): Cell => text;
const types = { getTypeParser: (oid: number) => parsers.get(oid) ?? asText } as pg.CustomTypesConfig;

class OpenConnection implements Connection {
  readonly client: pg.Client;
  readonly #slot: () => number;
  readonly #onLost: (why: 'ended' | 'silent') => void;
  #limitMs = statementTimeoutMs;
  lost = false;

  constructor(client: pg.Client, { slot, onLost }: { slot: () => number; onLost: (why: 'ended' | 'silent') => void }) {
    this.client = client;
    this.#slot = slot;
    this.#onLost = onLost;
    const ended = (): void => this.drop();
    client.on('error', ended);
    client.on('end', ended);
  }

  get slot(): number {
    return this.#slot();
  }

  async run({ name, text }: Statement, values: readonly unknown[], timeoutMs = statementTimeoutMs): Promise<Row[]> {
    const query = { name, text, values: values as unknown[], rowMode: 'array' as const, types };
    try {
      await this.#allow(timeoutMs);
      return ((await within(this.client.query(query), timeoutMs)) as unknown as { rows: Row[] }).rows;
    } catch (error) {
      if (isLoss(error)) this.drop(error instanceof NoAnswer ? 'silent' : 'ended');
      throw error;
    }
  }

  /** Has the server bear with a statement that may take longer than others, until the next one. */
  async #allow(timeoutMs: number): Promise<void> {
    const limitMs = Math.max(timeoutMs, statementTimeoutMs);
    if (limitMs === this.#limitMs) return;
    await within(this.client.query(`SET statement_timeout = ${limitMs + serverGraceMs}`), statementTimeoutMs);
    this.#limitMs = limitMs;
  }

  drop(why: 'ended' | 'silent' = 'ended'): void {
    if (this.lost) return;
    this.lost = true;
    destroySocket(this.client);
    this.#onLost(why);
  }
}

interface Waiting {
  resolve(connection: OpenConnection): void;
  reject(error: Error): void;
}

export class Connections {
  readonly #config: pg.ClientConfig;
  readonly #size: number;
  /** Places that no open connection has. */
  readonly #places: number[];
  readonly #slotOf: (place: number) => number;
  readonly #idle: OpenConnection[] = [];
  readonly #all = new Set<OpenConnection>();
  readonly #waiting = new Set<Waiting>();
  readonly #reach: Reach;
  #opening = 0;
  #closed = false;

  /**
   * @param places numbers of these connections among those of this process; as many may be open at once
   * @param slotOf the slot of a place, asked at each use: a node that was taken for dead comes back under another number
   */
  constructor({
    config,
    places,
    slotOf,
    reach,
  }: {
    config: pg.ClientConfig;
    places: readonly number[];
    slotOf: (place: number) => number;
    reach: Reach;
  }) {
    this.#reach = reach;
    this.#config = config;
    this.#size = places.length;
    this.#places = [...places];
    this.#slotOf = slotOf;
  }

  /** Runs `work` on a connection of its own. Rejects with `engine-unavailable`, nothing accepted, when there is none to be had. */
  async use<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = this.#idle.pop() ?? (await this.#wait());
    try {
      return await work(connection);
    } finally {
      this.#release(connection);
    }
  }

  /** One statement on any connection. The caller's wait has an end, whatever part of it is for a connection; the statement's own limit stays. */
  run(statement: Statement, values: readonly unknown[], timeoutMs = statementTimeoutMs): Promise<Row[]> {
    const running = this.use((connection) => connection.run(statement, values, timeoutMs));
    return within(running, Math.max(waitMs, timeoutMs));
  }

  async #wait(): Promise<OpenConnection> {
    if (this.#closed) throw notReached(new Error('the store is closed'));
    const { promise, resolve, reject } = Promise.withResolvers<OpenConnection>();
    const waiting: Waiting = { resolve, reject };
    this.#waiting.add(waiting);
    this.#openMore();
    try {
      return await within(promise, waitMs);
    } catch (error) {
      // One that is given at this very moment must not be lost.
      if (!this.#waiting.delete(waiting)) void promise.then((connection) => this.#release(connection)).catch(() => {});
      throw error instanceof NoAnswer ? notReached(error) : error;
    }
  }

  #release(connection: OpenConnection): void {
    if (connection.lost) return this.#openMore();
    const [next] = this.#waiting;
    if (!next) return void this.#idle.push(connection);
    this.#waiting.delete(next);
    next.resolve(connection);
  }

  #openMore(): void {
    const refusal = this.#reach.refusal;
    if (refusal) return this.#refuseWaiting(refusal);
    while (this.#all.size + this.#opening < this.#size && this.#opening < this.#waiting.size) {
      this.#opening++;
      const triedAt = performance.now();
      void this.#open().then(
        (connection) => {
          this.#opening--;
          this.#reach.reached();
          if (this.#closed) connection.drop();
          else this.#release(connection);
        },
        (error: Error) => {
          this.#opening--;
          if (this.#reach.missed(error, triedAt)) this.#refuseWaiting(error);
          else this.#openMore();
        },
      );
    }
  }

  #refuseWaiting(cause: Error): void {
    // Those for whom an open connection will be free in a moment go on waiting.
    if (this.#all.size > this.#idle.length && !this.#closed) return;
    for (const waiting of this.#waiting) waiting.reject(notReached(cause));
    this.#waiting.clear();
  }

  async #open(): Promise<OpenConnection> {
    const client = new pg.Client({ ...this.#config, connectionTimeoutMillis: connectTimeoutMs });
    const place = this.#places.pop()!;
    const connection: OpenConnection = new OpenConnection(client, {
      slot: () => this.#slotOf(place),
      onLost: (why) => {
        this.#places.push(place);
        this.#all.delete(connection);
        const at = this.#idle.indexOf(connection);
        if (at >= 0) this.#idle.splice(at, 1);
        // Where one is silent the idle ones may be as well, and each would cost its user as long a wait.
        if (why === 'silent') for (const other of this.#idle.splice(0)) other.drop();
        if (this.#waiting.size > 0) this.#openMore();
      },
    });
    try {
      await client.connect();
      if (connection.lost) throw new Error('the connection ended at once');
    } catch (error) {
      connection.drop();
      throw error;
    }
    this.#all.add(connection);
    return connection;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#refuseWaiting(new Error('the store is closed'));
    // Ended properly, so that the server sees goodbyes.
    await Promise.all([...this.#all].map((connection) => endSession(connection.client)));
  }
}
