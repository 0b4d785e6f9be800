// GET /v1/stream as a WebSocket: submit, watch, work and answer on one connection. Who may come in, what each frame is for, and how all of it ends.
import { closeCodes, streamLimits, WaitlessError } from '@waitless/protocol';
import type { WebSocket, WebSocketServer } from 'ws';
import type { BodyBudget } from '../../core/body-budget.ts';
import type { EventTokens } from '../../core/event-tokens.ts';
import type { Live } from '../../core/live.ts';
import type { Pull } from '../../core/pull.ts';
import type { Reply } from '../../core/reply.ts';
import type { TopicFeeds } from '../../core/topic-feed.ts';
import type { OperationRecord } from '../../engine/engine.ts';
import type { Log } from '../../lib/log.ts';
import type { Service } from '../../lib/service.ts';
import type { Auth } from '../auth.ts';
import type { Upgrade } from '../edge.ts';
import { Shape } from '../json/shape.ts';
import { Answers } from './answers.ts';
import { Connection, Outbox } from './connection.ts';
import { EventAnswers } from './event-answers.ts';
import { judgeHandshake, type Welcome } from './handshake.ts';
import { type Frame, readFrames } from './read-frames.ts';
import { Publishes, type PublishesDependencies } from './publishes.ts';
import type { Session } from './session.ts';
import { type SubmitDependencies, Submits } from './submits.ts';
import { refMember } from './text-frame.ts';
import { TopicWatches } from './topic-watches.ts';
import { type WatchDependencies, Watches } from './watches.ts';
import { type WorkerDependencies, Workers } from './workers.ts';

export interface WebSocketDependencies
  extends
    Omit<WatchDependencies, 'fetch' | 'live'>,
    SubmitDependencies,
    PublishesDependencies,
    Omit<WorkerDependencies, 'reply' | 'services' | 'pull'> {
  auth: Pick<Auth, 'allowsOrigin' | 'namespace'>;
  topicFeeds: Pick<TopicFeeds, 'attach' | 'newest'>;
  services: WorkerDependencies['services'];
  fetch: WatchDependencies['fetch'] & { cancel: (id: string, namespace: string) => Promise<OperationRecord> };
  live: WatchDependencies['live'] & Pick<Live, 'ensureRoom' | 'hold'>;
  reply: Reply;
  pull: Pick<Pull, 'take' | 'settle' | 'extend'>;
  eventTokens: EventTokens;
  budget: BodyBudget;
  log: Log;
}

/** How long a peer may take to answer our close, an option that the types of the parser do not know yet. */
const closing: object = { closeTimeout: 5000 };
/** The parser may keep so many pieces of one frame: 256 KB in TCP segments of 64 bytes. */
const mostBufferedChunks = 4096;
/** What has begun when the server stops is ended first, for so long. */
const settleMs = 2000;

type FrameHandler = (session: Session, frame: Frame) => void | Promise<void>;

export class WebSockets implements Service {
  readonly name = 'websocket';
  readonly #d: WebSocketDependencies;
  readonly #outbox = new Outbox();
  readonly #sessions = new Set<Session>();
  readonly #handlers: ReadonlyMap<string, FrameHandler>;
  #server: WebSocketServer | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(dependencies: WebSocketDependencies) {
    this.#d = dependencies;
    const submits = new Submits(dependencies);
    const answers = new Answers(dependencies);
    const events = new EventAnswers(dependencies);
    const publishes = new Publishes(dependencies);
    this.#handlers = new Map<string, FrameHandler>([
      ['submit', (session, frame) => submits.take(session, frame)],
      ['watch', ({ watches, topics }, frame) => (ofTopics(frame) ? topics : watches).watch(frame)],
      ['unwatch', ({ watches, topics }, frame) => (ofTopics(frame) ? topics : watches).unwatch(frame)],
      ['cancel', (session, frame) => this.#cancel(session, frame)],
      ['work', ({ workers }, frame) => workers.work(frame)],
      ['reply', events.either(answers.reply)],
      ['fail', events.either(answers.fail)],
      ['release', events.either(answers.release, events.release)],
      ['extend', events.either(answers.extend, events.extend)],
      ['progress', events.either(answers.progress)],
      ['ack', events.ack],
      ['nack', events.nack],
      ['ping', ping],
      ['publish', (session, frame) => publishes.take(session, frame)],
    ]);
  }

  /** Loaded when the first one comes: most starts never need it. */
  async #parser(): Promise<WebSocketServer> {
    if (this.#server) return this.#server;
    const { WebSocketServer: Server } = await import('ws');
    return (this.#server ??= new Server({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      // Counted first: too many end the connection with a reason.
      autoPong: false,
      maxPayload: streamLimits.messageBytes,
      maxFragments: streamLimits.fragments,
      maxBufferedChunks: mostBufferedChunks,
      ...closing,
    }));
  }

  /** Takes a connection that wants to be a WebSocket, or refuses it. */
  async accept(upgrade: Upgrade): Promise<void> {
    const { auth, live, log } = this.#d;
    try {
      const welcome = judgeHandshake(upgrade, auth);
      live.ensureRoom(welcome.namespace);
      const parser = await this.#parser();
      if (this.#stopping)
        throw new WaitlessError('shutting-down', undefined, { retryAfterSeconds: 1, members: { accepted: false } });
      parser.handleUpgrade(upgrade.request, upgrade.socket, upgrade.head, (ws) => {
        upgrade.taken();
        this.#open(ws, { upgrade, welcome });
      });
    } catch (error) {
      if (!(error instanceof WaitlessError)) log.error('websocket.failed', { requestId: upgrade.requestId, error });
      upgrade.refuse(error);
    }
  }

  #open(ws: WebSocket, { upgrade, welcome: { namespace, visit } }: { upgrade: Upgrade; welcome: Welcome }): void {
    const { socket } = upgrade;
    // Not the whole of it: its request would be kept for as long as the connection.
    const { base, requestId, asGuess } = upgrade;
    const about = { base, requestId, asGuess };
    const connection = new Connection({ ws, socket, namespace, visit, upgrade: about, outbox: this.#outbox });
    const session: Session = {
      connection,
      watches: new Watches(this.#d, connection),
      topics: new TopicWatches(this.#d, connection),
      workers: new Workers(this.#d, connection),
    };
    this.#sessions.add(session);
    ws.on('message', (data, isBinary) => {
      if (isBinary) connection.close(closeCodes.notText, 'frames are JSON text');
      else this.#read(session, data as Buffer);
    });
    // Sockets that nobody reads from any more may be open for a while; those count.
    const letGo = this.#d.live.hold(namespace);
    const expiry =
      visit && setTimeout(() => connection.close(closeCodes.expired, 'the read-only token has expired'), visit.leftMs);
    ws.on('close', () => {
      letGo();
      clearTimeout(expiry);
      this.#sessions.delete(session);
    });
  }

  #read(session: Session, message: Buffer): void {
    const { connection } = session;
    if (connection.over) return;
    let frames;
    try {
      frames = readFrames(message);
    } catch (error) {
      return connection.fault(error, undefined);
    }
    for (const frame of frames) {
      if (connection.over) return;
      if ('error' in frame) connection.fault(frame.error, frame.ref);
      else this.#act(session, frame);
    }
  }

  #act(session: Session, frame: Frame): void {
    const { connection } = session;
    const handler = this.#handlers.get(frame.type);
    try {
      if (!handler)
        throw new WaitlessError(
          'invalid-parameter',
          `${frame.at}/type ${JSON.stringify(frame.type.slice(0, 64))} is not known here; the types are ${[...this.#handlers.keys()].join(', ')}`,
        );
      if (connection.visit && !openToTokens.has(frame.type))
        throw new WaitlessError(
          'insufficient-scope',
          'a read-only token watches its operations and topics, and nothing else; connect with an API key',
        );
      const doing = handler(session, frame);
      if (doing instanceof Promise) doing.catch((error: unknown) => this.#refuse(session, frame, error));
    } catch (error) {
      this.#refuse(session, frame, error);
    }
  }

  /** What is wrong with the frame itself counts against its sender; what the server cannot do now does not. */
  #refuse({ connection }: Session, { ref }: Frame, error: unknown): void {
    if (!(error instanceof WaitlessError)) this.#d.log.error('websocket.failed', { error });
    if (error instanceof WaitlessError && faultStatuses.has(error.status)) connection.fault(error, ref);
    else connection.fail(error, ref);
  }

  async #cancel({ connection }: Session, { ref, at, value }: Frame): Promise<void> {
    const id = new Shape(value, at, ['id']).needText('id', { most: 256 });
    connection.begin();
    try {
      const record = await this.#d.fetch.cancel(id, connection.namespace);
      connection.ok(ref, `,"operation":${await this.#d.snapshot(record, connection.base)}`);
    } catch (error) {
      connection.failGuess(error, { ref, guess: id, members: `,"id":${JSON.stringify(id)}` });
    } finally {
      connection.done();
    }
  }

  start(): Promise<void> {
    this.#timer = setInterval(() => {
      for (const { connection } of this.#sessions) connection.beat();
    }, streamLimits.quietMs);
    this.#timer.unref();
    return Promise.resolve();
  }

  /** From now on nobody comes in, and nobody gets work. */
  refuseNew(): void {
    this.#stopping = true;
    for (const { workers } of this.#sessions) workers.pause();
  }

  /** What is in hand is answered, what was leased at the last moment goes back, and every connection is closed. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    const until = performance.now() + settleMs;
    while (performance.now() < until && [...this.#sessions].some(({ connection }) => connection.inHand > 0))
      await new Promise((resolve) => setTimeout(resolve, 10));
    const sessions = [...this.#sessions];
    for (const { connection } of sessions) connection.close(closeCodes.stopping, 'the server stops');
    await Promise.all(sessions.map(({ workers }) => workers.givenBack));
    const cut = performance.now() + settleMs;
    while (performance.now() < cut && this.#sessions.size > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    for (const { connection } of this.#sessions) connection.terminate();
  }
}

/** Of frames that honest clients do not send. */
const faultStatuses: ReadonlySet<number> = new Set([400, 403, 413, 501]);

const openToTokens: ReadonlySet<string> = new Set(['watch', 'unwatch', 'ping']);

function ping({ connection }: Session, { ref, at, value }: Frame): void {
  new Shape(value, at, []);
  connection.countPing();
  connection.send(`{"type":"pong"${refMember(ref)}}`);
}

/** One frame is about operations or about topics; with both, what is too much is named. */
const ofTopics = ({ value }: Frame): boolean => Object.hasOwn(value, 'topics') && !Object.hasOwn(value, 'operations');
