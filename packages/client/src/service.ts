// A service with a contract: what goes in and what comes out is checked at run time and known to the compiler.
import { WaitlessError } from '@waitless/protocol';
import { jsonBytes } from './body.ts';
import { headersOf } from './header-fields.ts';
import type { RequestOptions } from './request.ts';
import type { ClientResponse } from './response.ts';
import type { SchemaInput, SchemaIssue, SchemaOutput, StandardSchema } from './standard-schema.ts';
import type { SubmitOptions, SubmitOutcome } from './submit.ts';
import type { WaitOptions } from './wait.ts';

/** Schemas of any Standard Schema library; a side without one is not checked. */
export interface ServiceContract {
  input?: StandardSchema<unknown, unknown> | undefined;
  output?: StandardSchema<unknown, unknown> | undefined;
}

/** A result whose JSON has passed the contract's output schema; `undefined` for an empty body. */
export type CheckedResponse<Value> = ClientResponse & { value: Value };

/** A value did not fit the contract: `input-mismatch` before anything was sent, `output-mismatch` for the result or an event. */
export class ContractBroken extends WaitlessError {
  /** What the schema said, in its library's words. */
  readonly issues: readonly SchemaIssue[];
  /** The result that does not fit; undefined for an event. */
  readonly result: ClientResponse | undefined;
  /** The same value breaks the contract again. */
  override readonly retry = false;

  constructor(code: 'input-mismatch' | 'output-mismatch', issues: readonly SchemaIssue[], result?: ClientResponse) {
    const what = code === 'input-mismatch' ? 'the input' : result ? 'the result' : 'the data of the event';
    super(code, `${what} breaks the contract: ${issues.map(sentence).join('; ')}`, { status: 422 });
    this.issues = issues;
    this.result = result;
  }
}

export interface Service<Contract extends ServiceContract> {
  readonly name: string;
  /** Sends the value as JSON and resolves with the checked result; otherwise as the client's `request`. */
  readonly request: (
    value: SchemaInput<Contract['input']>,
    options?: RequestOptions,
  ) => Promise<CheckedResponse<SchemaOutput<Contract['output']>>>;
  /** Hands the value over as JSON; otherwise as the client's `submit`. */
  readonly submit: (
    value: SchemaInput<Contract['input']>,
    options?: Omit<SubmitOptions, 'body'>,
  ) => Promise<SubmitOutcome>;
  /** The checked result of an operation of this service; otherwise as the client's `wait`. */
  readonly wait: (id: string, options?: WaitOptions) => Promise<CheckedResponse<SchemaOutput<Contract['output']>>>;
}

interface Verbs {
  request(service: string, body: Uint8Array, options: RequestOptions): Promise<ClientResponse>;
  submit(service: string, options: SubmitOptions): Promise<SubmitOutcome>;
  wait(id: string, options?: WaitOptions): Promise<ClientResponse>;
}

export function serviceOf<Contract extends ServiceContract>(
  name: string,
  contract: Contract,
  verbs: Verbs,
): Service<Contract> {
  type Value = SchemaOutput<Contract['output']>;
  const checked = async (response: ClientResponse): Promise<CheckedResponse<Value>> => ({
    ...response,
    value: (await checkOutput(contract.output, response)) as Value,
  });
  /** What the schema made of the value is what is sent: with its defaults and changes. */
  const prepare = async <Options extends Pick<SubmitOptions, 'headers'>>(value: unknown, options: Options) => {
    const { bytes, contentType } = jsonBytes(await checkInput(contract.input, value));
    const headers = headersOf(options.headers);
    if (!headers.has('content-type')) headers.set('Content-Type', contentType!);
    return { bytes, options: { ...options, headers } };
  };
  return {
    name,
    async request(value, requestOptions = {}) {
      const { bytes, options } = await prepare(value, requestOptions);
      return checked(await verbs.request(name, bytes, options));
    },
    async submit(value, submitOptions = {}) {
      const { bytes, options } = await prepare(value, submitOptions);
      return verbs.submit(name, { ...options, body: bytes });
    },
    wait: async (id, options) => checked(await verbs.wait(id, options)),
  };
}

async function checkInput(schema: StandardSchema<unknown, unknown> | undefined, value: unknown): Promise<unknown> {
  if (schema === undefined) return value;
  const verdict = await schema['~standard'].validate(value);
  if (verdict.issues) throw new ContractBroken('input-mismatch', verdict.issues);
  return verdict.value;
}

async function checkOutput(
  schema: StandardSchema<unknown, unknown> | undefined,
  response: ClientResponse,
): Promise<unknown> {
  let value: unknown;
  try {
    value = response.bytes.length === 0 ? undefined : response.json();
  } catch (error) {
    throw new ContractBroken('output-mismatch', [{ message: (error as Error).message }], response);
  }
  if (schema === undefined) return value;
  const verdict = await schema['~standard'].validate(value);
  if (verdict.issues) throw new ContractBroken('output-mismatch', verdict.issues, response);
  return verdict.value;
}

function sentence({ message, path = [] }: SchemaIssue): string {
  const at = path.map((part) => `/${String(typeof part === 'object' ? part.key : part)}`).join('');
  return at === '' ? message : `${at}: ${message}`;
}
