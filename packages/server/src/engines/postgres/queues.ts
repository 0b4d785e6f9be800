// The queues of the store as this node knows them; other nodes may have made more.
import type { Queue } from '../../engine/engine.ts';
import type { Connections, Statement } from './connections.ts';
import { makeQueue, publishingQueues } from './transitions.ts';

const insert: Statement = {
  name: 'queue-add',
  text: 'INSERT INTO queue (namespace, service) VALUES ($1, $2) ON CONFLICT (namespace, service) DO NOTHING',
};
const select: Statement = {
  name: 'queue-get',
  text: 'SELECT id, namespace, service FROM queue WHERE namespace = $1 AND service = $2',
};
const selectAll: Statement = {
  name: 'queues',
  text: 'SELECT id, namespace, service FROM queue WHERE id <> ALL ($1::int4[])',
};

export class Queues {
  readonly #connections: Connections;
  readonly #byId = new Map<number, Queue>();
  readonly #ids = new Map<string, number>();
  readonly #ofService = new Map<string, number[]>();
  readonly #turns = new Map<string, number>();
  readonly #finding = new Map<string, Promise<Queue>>();
  #publishing: ReadonlySet<number> = new Set();

  constructor(connections: Connections) {
    this.#connections = connections;
  }

  #remember([id, namespace, service]: readonly unknown[]): Queue {
    const queue: Queue = { id: id as number, namespace: namespace as string, service: service as string };
    if (this.#byId.has(queue.id)) return queue;
    this.#byId.set(queue.id, queue);
    this.#ids.set(`${queue.namespace}/${queue.service}`, queue.id);
    const ids = this.#ofService.get(queue.service);
    if (ids) ids.push(queue.id);
    else this.#ofService.set(queue.service, [queue.id]);
    return queue;
  }

  /** Learns of those that other nodes have made; their numbers. */
  async refresh(): Promise<number[]> {
    const rows = await this.#connections.run(selectAll, [[...this.#byId.keys()]]);
    return rows.map((row) => this.#remember(row).id);
  }

  number(namespace: string, service: string): Promise<Queue> {
    const name = `${namespace}/${service}`;
    const known = this.#ids.get(name);
    if (known !== undefined) return Promise.resolve(this.#byId.get(known)!);
    let finding = this.#finding.get(name);
    if (!finding) {
      finding = this.#findOrMake(namespace, service).finally(() => this.#finding.delete(name));
      this.#finding.set(name, finding);
    }
    return finding;
  }

  async #findOrMake(namespace: string, service: string): Promise<Queue> {
    // Looked for first: an insert that finds it there uses up a number and a row version each time.
    let [row] = await this.#connections.run(select, [namespace, service]);
    if (!row) {
      const publishes = await this.#connections.use((connection) =>
        makeQueue(connection, { namespace, service }, () => connection.run(insert, [namespace, service])),
      );
      if (publishes) await this.lookWhichPublish();
      [row] = await this.#connections.run(select, [namespace, service]);
    }
    return this.#remember(row!);
  }

  /** Looks which queues publish their transitions; what it knows is a hint, for the database itself decides. */
  async lookWhichPublish(): Promise<void> {
    this.#publishing = new Set((await this.#connections.run(publishingQueues, [])).map(([id]) => id as number));
  }

  /** Namespaces whose log grows when something happens in these queues. */
  publishing(ids: Iterable<number>): Set<string> {
    const namespaces = new Set<string>();
    if (this.#publishing.size > 0)
      for (const id of ids) if (this.#publishing.has(id)) namespaces.add(this.#byId.get(id)!.namespace);
    return namespaces;
  }

  known(id: number): Queue | undefined {
    return this.#byId.get(id);
  }

  async find(id: number): Promise<Queue | undefined> {
    if (!this.#byId.has(id)) await this.refresh();
    return this.#byId.get(id);
  }

  /** Makes sure that all of them are known. */
  async learn(ids: Iterable<number>): Promise<void> {
    for (const id of ids) if (!this.#byId.has(id)) return void (await this.refresh());
  }

  /** Some queues of a service, another one of them first each time: of one that asks for little, none must wait behind the others for ever. */
  inTurn(service: string, ids: readonly number[]): readonly number[] {
    const turn = this.#turns.get(service) ?? 0;
    this.#turns.set(service, turn + 1);
    const first = turn % Math.max(ids.length, 1);
    return [...ids.slice(first), ...ids.slice(0, first)];
  }

  /** Numbers of a service's queues in every namespace, or in one. */
  of(service: string, namespace: string | null): readonly number[] {
    if (namespace === null) return this.#ofService.get(service) ?? [];
    const id = this.#ids.get(`${namespace}/${service}`);
    return id === undefined ? [] : [id];
  }
}
