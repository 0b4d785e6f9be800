// `waitless submit`: hands a request to a service and, when asked, waits for its result.
import { type Durability, type SubmitOptions, WaitlessError, type WaitlessClient } from '@waitless/client';
import { callMethods, durabilities } from '@waitless/protocol';
import { InvalidArgumentError, Option } from 'commander';
import {
  collect,
  collectLabel,
  type CommandContext,
  type CommandModule,
  durationArgument,
  examples,
  jsonOption,
  labelsOf,
  waitOption,
  wholeArgument,
} from '../command.ts';
import { addConnectionOptions, connect, type ConnectionOptions, connectionWords } from '../connection.ts';
import { Failure, wrongUsage } from '../failure.ts';
import { followToResult } from '../follow.ts';
import { mediaTypeOf } from '../media-type.ts';
import { readData } from '../read-data.ts';
import { commandLine } from '../text.ts';
import { writeResult } from '../write-result.ts';

interface Options extends ConnectionOptions {
  data?: string;
  method: string;
  header?: string[];
  wait?: number;
  idempotencyKey?: string;
  correlationId?: string;
  timeout?: string;
  delay?: string;
  startBy?: string;
  priority?: number;
  label?: string[];
  durability?: Durability;
  include?: boolean;
  output?: string;
  json?: boolean;
}

export const submit: CommandModule = {
  name: 'submit',
  summary: 'hand a request to a service, and with --wait get its result',
  define(command, context) {
    examples(command, [
      `npx waitless submit score -d '{"customerId":"42"}' --wait`,
      'npx waitless submit score -d @request.json --idempotency-key order-17',
      `npx waitless submit reports '/monthly?year=2026' -X GET --wait 30 -o report.pdf`,
      'ID=$(npx waitless submit score -d @request.json)',
    ]);
    addConnectionOptions(
      command
        .argument('<SERVICE>', 'name of the service; `npx waitless services` lists them')
        .argument('[PATH]', 'path and query below the URL of the service')
        .option('-d, --data <DATA>', 'the body: text, @FILE for the bytes of a file, - for stdin')
        .addOption(
          new Option('-X, --method <METHOD>', callMethods.join(', ')).default('POST', 'POST').argParser(methodArgument),
        )
        .addOption(
          new Option('-H, --header <HEADER>', '`Name: value`, sent on to the backend; may be repeated').argParser(
            collect,
          ),
        )
        .addOption(waitOption())
        .option('--idempotency-key <KEY>', 'makes a repeat safe: same key and request, same operation')
        .option('--correlation-id <ID>', "your own id for the conversation (default: the operation's id)")
        .addOption(
          new Option('--timeout <DURATION>', 'total time allowed, such as 30s or 10m').argParser(durationArgument),
        )
        .addOption(new Option('--delay <DURATION>', 'do not start before this has passed').argParser(durationArgument))
        .addOption(
          new Option('--start-by <DURATION>', 'give up when not started within this').argParser(durationArgument),
        )
        .addOption(new Option('--priority <N>', '0 to 9: a head start in the queue').argParser(wholeArgument(0, 9)))
        .addOption(
          new Option('--label <NAME=VALUE>', 'to find it again with `ls --label`; may be repeated').argParser(
            collectLabel,
          ),
        )
        .addOption(new Option('--durability <LEVEL>', 'what the answer promises').choices(durabilities))
        .option('-i, --include', 'with --wait: status line and headers before the body')
        .option('-o, --output <FILE>', 'with --wait: write the result to a file')
        .addOption(jsonOption()),
    );
    command.addHelpText(
      'after',
      `\nPrints the id of the operation, with --wait its result.
Exit codes: 0 accepted, and with --wait succeeded; 1 otherwise, also when the time to wait is up, 130 after Ctrl-C; the operation goes on then.`,
    );
    command.action(async (service: string, path: string | undefined, options: Options) => {
      context.exit(await run(service, path, options, context));
    });
  },
};

async function run(
  service: string,
  path: string | undefined,
  options: Options,
  context: CommandContext,
): Promise<number> {
  const { terminal, output } = context;
  if (options.wait === undefined && (options.include || options.output !== undefined))
    throw wrongUsage('-i and -o need --wait: without it there is no result yet.');
  if (options.wait !== undefined && options.durability === 'none')
    throw wrongUsage('--durability none cannot be waited for: it keeps no operation.');
  const headers = headersOf(options.header ?? []);
  const client = await connect(options, terminal);
  const body = options.data === undefined ? undefined : await readData(options.data, { option: '-d', terminal });
  if (body !== undefined && !headers.some(([name]) => name.toLowerCase() === 'content-type'))
    headers.push(['Content-Type', mediaTypeOf(body)]);
  const request: SubmitOptions = {
    ...options,
    method: options.method,
    path,
    headers,
    body,
    labels: labelsOf(options.label),
    respondAsync: options.durability !== 'none',
  };
  const outcome = await client.submit(service, request).catch(async (error: unknown) => {
    throw error instanceof WaitlessError && error.code === 'unknown-service'
      ? await withNames(error, service, client)
      : error;
  });
  if (outcome.kind === 'result' && options.wait !== undefined)
    return writeResult(outcome.response, { ...options, file: options.output }, context);
  // A stored result answers at once; whoever did not ask to wait gets an id all the same, so that scripts always do.
  const operation =
    outcome.kind === 'accepted' ? outcome.operation : (await client.get(outcome.response.operationId)).operation;
  if (operation === undefined) {
    output.note('Handed over. Nothing is kept of it (durability none), so there is nothing to look up.');
    return 0;
  }
  const comeBack = ['result', operation.id, '--wait', ...connectionWords(options)];
  if (options.wait !== undefined) {
    if (output.attended) output.note(output.err.dim(`operation ${operation.id}`));
    const following = { client, id: operation.id, waitMs: options.wait, connection: connectionWords(options) };
    const result = await followToResult(following, context);
    return writeResult(result, { ...options, file: options.output }, context);
  }
  if (options.json) output.json(operation);
  else output.line(operation.id);
  if (output.attended) {
    if (outcome.kind === 'accepted' && outcome.replayed)
      output.note(
        output.err.dim('The same request was accepted before under this idempotency key; this is its operation.'),
      );
    output.note(
      output.err.dim(
        `${outcome.kind === 'result' ? 'The result is stored already' : 'Accepted'}. For the result: ${commandLine(...comeBack)}`,
      ),
    );
  }
  return 0;
}

/** An unknown service is most often a typing error, so the names there are belong into the sentence. */
async function withNames(error: WaitlessError, service: string, client: WaitlessClient): Promise<unknown> {
  const names = await client.services().then(
    (services) => services.map((service) => service.name),
    () => [],
  );
  if (names.length === 0) return error;
  const list = `${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}`;
  return new Failure(`there is no service "${service}" here, only: ${list}.`);
}

function methodArgument(value: string): string {
  const method = value.toUpperCase();
  if (!(callMethods as readonly string[]).includes(method))
    throw new InvalidArgumentError(`It takes one of ${callMethods.join(', ')}.`);
  return method;
}

/** Headers that an option of ours sets; the same twice would contradict itself. */
const ownOptions: Readonly<Record<string, string>> = {
  prefer: '--wait',
  'idempotency-key': '--idempotency-key',
  'correlation-id': '--correlation-id',
  'operation-timeout': '--timeout',
  'operation-delay': '--delay',
  'operation-start-by': '--start-by',
  'operation-priority': '--priority',
  'operation-labels': '--label',
  'operation-durability': '--durability',
};

function headersOf(lines: readonly string[]): [string, string][] {
  return lines.map((line) => {
    const colon = line.indexOf(':');
    if (colon < 1) throw wrongUsage(`-H takes a header such as 'X-Customer: 42', and "${line}" is none.`);
    const name = line.slice(0, colon).trim();
    const own = ownOptions[name.toLowerCase()];
    if (own !== undefined) throw wrongUsage(`the header ${name} is set by ${own}; use that.`);
    return [name, line.slice(colon + 1).trim()];
  });
}
