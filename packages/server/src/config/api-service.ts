// Service documents that come over the API: the check of the config file, told in the words of the wire, and the document as it is shown.
import { WaitlessError } from '@waitless/protocol';
import { ConfigError } from './config-error.ts';
import { isFields } from './config-file.ts';
import type { ServiceConfig } from './config-shape.ts';
import { serviceValues } from './print-config.ts';
import { mask } from './secrets.ts';
import { readService, type ServiceDocument } from './service-config.ts';

const pointerOf = (path: readonly (string | number)[]): string =>
  path.map((step) => `/${String(step).slice(0, 64).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');

function refuse(code: string, pointer: string, detail: string): never {
  throw new WaitlessError(code, `${pointer || 'the document'}: ${detail}`, {
    members: { errors: [{ pointer, detail }] },
  });
}

/** The service of a document. Throws WaitlessError that names the field by its JSON pointer. */
export function readApiService({ name, document, limits }: Omit<ServiceDocument, 'where'>): ServiceConfig {
  refuseOfTheFile(document);
  let pointer = '';
  try {
    return readService({
      name,
      document,
      limits,
      where: (path) => {
        pointer = pointerOf(path.slice(2));
        return { label: '' };
      },
    });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const detail = error.message.replace(/^: /, '');
    const code = detail.startsWith('not built yet')
      ? 'not-implemented'
      : detail.startsWith('there is no such field')
        ? 'unknown-field'
        : 'invalid-parameter';
    return refuse(code, pointer, detail);
  }
}

/** What means something in the file alone, or is what we show in the place of a value. */
function refuseOfTheFile(document: unknown): void {
  if (!isFields(document) || !isFields(document['target'])) return;
  const { url, headers } = document['target'];
  if (typeof url === 'string' && isDisguised(url))
    refuse(
      'target-forbidden',
      '/target/url',
      'takes an http or https URL such as https://score.example.com, with two slashes and without a user name',
    );
  // Documents are kept in the store as they are, and a copy of it must not tell how to sign.
  if (Object.hasOwn(document['target'], 'secret'))
    refuse(
      'not-implemented',
      '/target/secret',
      'not built yet over the API; name the service in the config file, or send without the field',
    );
  if (typeof url === 'string' && url.includes('${env:'))
    refuse(
      'invalid-parameter',
      '/target/url',
      'environment variables are read in the config file alone; write the URL itself',
    );
  if (!isFields(headers)) return;
  for (const [header, value] of Object.entries(headers)) {
    const pointer = pointerOf(['target', 'headers', header]);
    if (typeof value === 'string' && value.includes('${env:'))
      refuse(
        'invalid-parameter',
        pointer,
        'environment variables are read in the config file alone; send the value itself',
      );
    if (value === mask)
      refuse(
        'invalid-parameter',
        pointer,
        `${mask} is shown in the place of the value, which is needed here; send the value itself`,
      );
  }
}

/** What a URL parser takes and a person may read as something else: another scheme, a user name, fewer slashes, what only looks like a host. */
function isDisguised(url: string): boolean {
  // oxlint-disable-next-line no-control-regex -- a parser drops them without a word; they are refused as wrong text
  if (!URL.canParse(url) || /[\0-\x1f\x7f]/.test(url)) return false;
  const [, authority] = /^https?:\/\/([^/]*)/i.exec(url) ?? [];
  return authority === undefined || authority.includes('@');
}

/** The document of a service with every default filled in, as it could be sent again; values of headers are masked. */
export function shownService(service: ServiceConfig): Record<string, unknown> {
  const document: Record<string, unknown> = {};
  for (const [path, value] of serviceValues(service)) {
    if (value === undefined) continue;
    let at = document;
    for (const step of path.slice(0, -1)) at = (at[step] ??= {}) as Record<string, unknown>;
    Object.defineProperty(at, path.at(-1)!, { value, enumerable: true, writable: true, configurable: true });
  }
  return document;
}
