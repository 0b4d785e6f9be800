// Everything that ends a command without success: which exit code it has, and the one sentence a person reads.
import { OperationFailed, WaitlessError } from '@waitless/client';
import { CommanderError } from 'commander';
import { plain } from './text.ts';

/** Documented exit codes; scripts depend on them. */
export const exitCodes = {
  success: 0,
  failure: 1,
  usage: 2,
  /** EX_CONFIG of sysexits.h. */
  configuration: 78,
  /** 128 + SIGINT, as shells report it. */
  interrupted: 130,
} as const;

/** Ends the command with this sentence and exit code. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exitCode: number;

  constructor(sentence: string, exitCode: number = exitCodes.failure) {
    super(sentence);
    this.exitCode = exitCode;
  }
}

/** What was typed cannot be meant. */
export const wrongUsage = (sentence: string): Failure => new Failure(sentence, exitCodes.usage);

/** What to do next, where the message alone does not say it. */
const hints: Readonly<Record<string, string>> = {
  unauthenticated: 'Give the key in a file with --api-key-file FILE or WAITLESS_API_KEY_FILE, or as WAITLESS_API_KEY.',
  'not-found': '`npx waitless ls` lists the operations there are.',
  'attempts-exhausted': '`npx waitless timeline ID` shows each attempt.',
  'invalid-json': `The service needs JSON to find its business key, such as -d '{"customerId":"42"}'.`,
  'insufficient-storage':
    "Nothing was accepted. Free some space on the disk of the server's data folder; the server goes on by itself.",
};

function hintFor(error: WaitlessError): string | undefined {
  const { code, message } = error;
  if (code === 'attempts-exhausted' && message.includes('could not be reached'))
    return "Start the backend, or mend the service's target; `npx waitless doctor`, run as the server is, tries to reach it.";
  const id = error instanceof OperationFailed ? error.operationId : '';
  return id === '' ? hints[code] : hints[code]?.replace('timeline ID', `timeline ${id}`);
}

/** Sentence, optional hint and exit code of anything thrown. */
export function explain(error: unknown): { sentence: string; hint?: string | undefined; exitCode: number } {
  if (error instanceof Failure) return { sentence: error.message, exitCode: error.exitCode };
  if (error instanceof CommanderError) {
    const parts = error.message.replace(/^error: /, '').split('\n');
    // Commander puts its "(Did you mean …?)" on a line of its own.
    const sentence = parts.map((part) => part.replace(/^\((.*)\)$/, '$1').replace(/(?<![.?!])$/, '.')).join(' ');
    return { sentence, exitCode: exitCodes.usage };
  }
  if (error instanceof WaitlessError) {
    // A problem of the wire has the headers of its answer; one without was found before anything was sent.
    const usage = error.headers === undefined && error.status === 400;
    return {
      sentence: plain(error.message),
      hint: hintFor(error),
      exitCode: usage ? exitCodes.usage : exitCodes.failure,
    };
  }
  if (error instanceof Error && 'code' in error && 'syscall' in error)
    return { sentence: systemSentence(error as NodeJS.ErrnoException), exitCode: exitCodes.failure };
  return {
    sentence: `this is a bug in waitless: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    exitCode: exitCodes.failure,
  };
}

/** An operating system's error as a sentence that names the file. */
export function systemSentence(error: NodeJS.ErrnoException): string {
  const what = error.path === undefined ? '' : ` ${error.path}`;
  switch (error.code) {
    case 'ENOENT':
      return `there is no file${what}.`;
    case 'EACCES':
    case 'EPERM':
      return `no permission for${what === '' ? ' that' : what}.`;
    case 'EISDIR':
      return `${error.path ?? 'that'} is a folder, not a file.`;
    default:
      return `${error.message}.`;
  }
}
