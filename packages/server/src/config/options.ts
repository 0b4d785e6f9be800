// The one table of every server option: command line, environment, config file, help text and --print-config all read it.
import {
  baseUrlValue,
  booleanValue,
  choiceValue,
  durationValue,
  hostValue,
  integerValue,
  originValue,
  rangeValue,
  sizeValue,
  textValue,
} from './values.ts';
import { mostTopicBytes } from './api-topic.ts';
import type { LogLevel } from './config-shape.ts';

/** What each option resolves to; lists for those that may be given several times. */
export interface OptionValues {
  host: string;
  port: number;
  data: string;
  backupFolder: string | undefined;
  dataPasswordFile: string | undefined;
  iAcceptWeakDurability: boolean;
  config: string | undefined;
  target: readonly string[];
  pull: readonly string[];
  key: readonly string[];
  validFor: readonly string[];
  apiKeyFile: string | undefined;
  secretKeyFile: string | undefined;
  publicUrl: string | undefined;
  backendUrl: string | undefined;
  allowNetwork: readonly string[];
  corsOrigin: readonly string[];
  trustProxy: readonly string[];
  maxBodyMemory: number;
  maxWait: number;
  maxWaiters: number;
  maxWaitersPerNamespace: number;
  eventRetention: number;
  eventMaxBytes: number | undefined;
  shutdownTimeout: number;
  logLevel: LogLevel;
  printConfig: boolean;
}

export type OptionName = keyof OptionValues;

export interface Option {
  /** Key of the parsed command line and of `OptionValues`. */
  readonly name: OptionName;
  /** `--max-wait`; the config file's field is the same word in camel case. */
  readonly flag: string;
  /** Name of the flag's argument in help; undefined for a switch. */
  readonly argument: string | undefined;
  /** `WAITLESS_MAX_WAIT`; lists are separated by commas. */
  readonly env: string;
  /** Field of the config file; undefined where the file has none. */
  readonly field: string | undefined;
  /** May be given several times. */
  readonly list: boolean;
  /** The default as a person would write it; undefined: not set. */
  readonly default: string | undefined;
  /** One line for --help. */
  readonly help: string;
  /** Why this default: what goes wrong above and below it. */
  readonly reason: string;
  /** Checks one value (one element of a list); throws WrongValue. */
  readonly read: (value: unknown) => unknown;
}

type Given = Omit<Option, 'flag' | 'env' | 'field' | 'list' | 'default'> & {
  readonly inFile?: false;
  readonly list?: true;
  readonly default?: string;
};

function option({ name, inFile, list, ...rest }: Given): Option {
  const words = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return {
    name,
    flag: `--${words}`,
    env: `WAITLESS_${words.replaceAll('-', '_').toUpperCase()}`,
    field: inFile === false ? undefined : name,
    list: list === true,
    default: rest.default,
    argument: rest.argument,
    help: rest.help,
    reason: rest.reason,
    read: rest.read,
  };
}

const kb = 1024;
const mb = 1024 * kb;
const gb = 1024 * mb;
const second = 1000;
const hour = 3600 * second;

export const optionTable: readonly Option[] = [
  option({
    name: 'host',
    argument: 'ADDRESS',
    default: '127.0.0.1',
    read: hostValue,
    help: 'address to listen on',
    reason:
      'Loopback, because a server without keys must not be reachable by others; anything wider asks for --api-key-file.',
  }),
  option({
    name: 'port',
    argument: 'PORT',
    default: '7878',
    read: (value) => integerValue(value, { min: 0, max: 65535 }),
    help: 'port to listen on; 0 takes a free one',
    reason:
      'Unassigned and above 1024, so no root is needed; a random default would make the printed curl useless after a restart.',
  }),
  option({
    name: 'data',
    argument: 'STORE',
    default: './waitless-data',
    read: textValue,
    help: 'folder of the store; or postgres://user@host:5432/database; or :memory: for one that is gone at the end',
    reason:
      'A folder in sight of whoever started it; in memory by default would lose acknowledged work at the first restart.',
  }),
  option({
    name: 'backupFolder',
    argument: 'DIR',
    read: textValue,
    help: 'folder that backups are written to (default: backups in the data folder)',
    reason:
      'In the data folder, which is there and readable for its owner alone. A folder on another disk also outlives the loss of this one.',
  }),
  option({
    name: 'dataPasswordFile',
    argument: 'FILE',
    read: textValue,
    help: 'file with the password of the PostgreSQL user and nothing else',
    reason: 'None: the password may stand in the address, in PGPASSWORD or in ~/.pgpass, or there is none.',
  }),
  option({
    name: 'iAcceptWeakDurability',
    argument: undefined,
    default: 'false',
    read: booleanValue,
    help: 'start also on a PostgreSQL that may lose what it has confirmed',
    reason: 'Off: a 202 means that nothing is lost, and a database with fsync off cannot keep that.',
  }),
  option({
    name: 'config',
    argument: 'FILE',
    inFile: false,
    read: textValue,
    help: 'YAML or JSON file with options and services (default: ./waitless.yaml if there)',
    reason:
      'Read from the working folder alone: a file found elsewhere would configure servers whose owner never saw it.',
  }),
  option({
    name: 'target',
    argument: 'NAME=URL',
    list: true,
    inFile: false,
    read: textValue,
    help: 'a service and its backend; NAME=pull for one worked by pull leases',
    reason: 'None: there is no backend that could be guessed.',
  }),
  option({
    name: 'pull',
    argument: 'NAME',
    list: true,
    inFile: false,
    read: textValue,
    help: 'a service whose work is taken by pull workers',
    reason: 'None, as for --target.',
  }),
  option({
    name: 'key',
    argument: 'NAME=RULE',
    list: true,
    inFile: false,
    read: textValue,
    help: "where the business key of a service's requests stands: /customerId in the body, query:NAME, header:NAME or path:1; several for one service are the parts of its key",
    reason: 'None: whoever shares results between requests has to know what makes two of them the same.',
  }),
  option({
    name: 'validFor',
    argument: 'NAME=DURATION',
    list: true,
    inFile: false,
    read: textValue,
    help: 'how long a stored result of a service answers new requests with the same key',
    reason: 'None: nobody but you knows how old an answer may be; without it every request is computed.',
  }),
  option({
    name: 'apiKeyFile',
    argument: 'FILE',
    read: textValue,
    help: 'file with one "name namespace sha256-of-key" per line',
    reason: "None: a built-in key would be everyone's key. Without it the server stays on loopback.",
  }),
  option({
    name: 'secretKeyFile',
    argument: 'FILE',
    read: textValue,
    help: 'key that callback secrets are sealed with, made when it is first needed (default: waitless/secret.key in $XDG_CONFIG_HOME, else in ~/.config)',
    reason:
      'Outside the data folder, so that who has a copy of the store has no secret; in the place for settings of the user who runs the server.',
  }),
  option({
    name: 'publicUrl',
    argument: 'URL',
    read: baseUrlValue,
    help: 'base of the URLs in answers (default: the listening URL)',
    reason:
      'The listening URL is right until a proxy stands in front; a guess from the Host header would let a caller choose where others are sent.',
  }),
  option({
    name: 'backendUrl',
    argument: 'URL',
    read: baseUrlValue,
    help: 'base of the reply and progress URLs that backends get (default: the public URL)',
    reason:
      'The public URL reaches every backend that reaches the public; a private name saves the way through the proxy.',
  }),
  option({
    name: 'allowNetwork',
    argument: 'CIDR',
    list: true,
    read: rangeValue,
    help: 'private addresses that targets and callbacks given over the API may use',
    reason: 'None: each range lets callers make the server send requests into that network.',
  }),
  option({
    name: 'corsOrigin',
    argument: 'ORIGIN',
    list: true,
    read: originValue,
    help: 'origin of web pages that may call the server',
    reason: 'None: without a key every page a user visits could read and start operations.',
  }),
  option({
    name: 'trustProxy',
    argument: 'CIDR',
    list: true,
    read: rangeValue,
    help: 'proxies whose Forwarded and X-Forwarded-* headers are believed',
    reason: 'None: believing anyone lets a caller forge the URLs in its answers and its address in the log.',
  }),
  option({
    name: 'maxBodyMemory',
    argument: 'SIZE',
    default: '256mb',
    read: (value) => sizeValue(value, { min: mb, max: 64 * gb }),
    help: 'bodies held in memory over all requests; beyond it 503',
    reason:
      'More and a burst of large bodies gets a 512 MB container killed; less and a few dozen 10 MB bodies in flight are already refused.',
  }),
  option({
    name: 'maxWait',
    argument: 'DURATION',
    default: '50s',
    read: (value) => durationValue(value, { min: second, max: hour }),
    help: 'longest time a waiting request is held',
    reason:
      'Above 60 s common proxies cut the connection and the caller sees 504 from them; much below and long-polls turn into polling.',
  }),
  option({
    name: 'maxWaiters',
    argument: 'COUNT',
    default: '50000',
    read: (value) => integerValue(value, { min: 1, max: 1_000_000 }),
    help: 'requests and streams held at once; beyond it 429',
    reason:
      'Each holds a socket and up to 16 KB: many more meet limits of file descriptors and of memory before this one; far fewer refuse an ordinary crowd of browsers.',
  }),
  option({
    name: 'maxWaitersPerNamespace',
    argument: 'COUNT',
    default: '20000',
    read: (value) => integerValue(value, { min: 1, max: 1_000_000 }),
    help: 'the same for the keys of one namespace together',
    reason:
      'With as much as all together, one tenant that opens streams without end shuts out the others; far fewer refuse one large site.',
  }),
  option({
    name: 'eventRetention',
    argument: 'DURATION',
    default: '7d',
    read: (value) => durationValue(value),
    help: 'how long a topic keeps its events, unless its own settings say otherwise; four times as long what a durable subscription has still to read',
    reason:
      'A subscriber that is down over a long weekend finds everything; longer fills disks with what nobody reads, and four weeks for the slowest one is a month of warnings.',
  }),
  option({
    name: 'eventMaxBytes',
    argument: 'SIZE',
    read: (value) => sizeValue(value, { min: 1, max: mostTopicBytes }),
    help: 'how many bytes of events a topic keeps, unless its own settings say otherwise; four times as many of what a durable subscription has still to read',
    reason: 'None: age alone decides, so that a busy day does not cut what was promised to be kept for a week.',
  }),
  option({
    name: 'shutdownTimeout',
    argument: 'DURATION',
    default: '25s',
    read: (value) => durationValue(value, { min: 0, max: hour }),
    help: 'time to finish what is in flight after SIGTERM',
    reason:
      'Kubernetes kills after 30 s, so more never ends cleanly there; much less cuts off attempts that would have finished.',
  }),
  option({
    name: 'logLevel',
    argument: 'LEVEL',
    default: 'warn',
    read: (value) => choiceValue(value, ['debug', 'info', 'warn', 'error', 'silent']),
    help: 'debug, info, warn, error or silent',
    reason:
      'info writes a line per step of every operation, a flood under load; above warn a full disk goes unnoticed.',
  }),
  option({
    name: 'printConfig',
    argument: undefined,
    inFile: false,
    default: 'false',
    read: booleanValue,
    help: 'print every value and where it came from, then exit',
    reason: 'Off: it is a question, not a way to run.',
  }),
];

/** Documented options of later versions: refused by name, so that nobody believes they work. */
export const unbuiltOptions: readonly { readonly name: string; readonly flag: string; readonly env: string }[] = [
  { name: 'metricsPort', flag: '--metrics-port', env: 'WAITLESS_METRICS_PORT' },
];

/** Variables of the same prefix that other commands read; a server ignores them. */
export const foreignVariables: ReadonlySet<string> = new Set(['WAITLESS_URL', 'WAITLESS_API_KEY']);
