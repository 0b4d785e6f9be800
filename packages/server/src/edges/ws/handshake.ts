// Who may open a WebSocket, judged before the answer 101: the form of the handshake, the page it comes from, the key or token, the subprotocol.
import { streamProtocol, streamTokenPrefix, WaitlessError } from '@waitless/protocol';
import type { Auth } from '../auth.ts';
import type { Upgrade, Visit } from '../edge.ts';

export interface Welcome {
  namespace: string;
  /** Where a read-only token is all that the caller has. */
  visit: Visit | undefined;
}

/** Throws what the answer is to be instead of 101. */
export function judgeHandshake(upgrade: Upgrade, auth: Pick<Auth, 'allowsOrigin' | 'namespace'>): Welcome {
  checkForm(upgrade);
  checkOrigin(upgrade, auth);
  const offered = offeredProtocols(upgrade);
  const welcome = whose(upgrade, { auth, offered });
  if (!offered.includes(streamProtocol))
    throw new WaitlessError(
      'invalid-parameter',
      `Sec-WebSocket-Protocol must offer ${streamProtocol}, the subprotocol that is spoken here`,
    );
  return welcome;
}

function checkForm({ request: { headers } }: Upgrade): void {
  if (headers['sec-websocket-version'] !== '13')
    throw new WaitlessError('bad-request', 'Sec-WebSocket-Version must be 13', {
      headers: { 'Sec-WebSocket-Version': '13' },
    });
  if (!/^[+/0-9A-Za-z]{22}==$/.test(headers['sec-websocket-key'] ?? ''))
    throw new WaitlessError('bad-request', 'Sec-WebSocket-Key must be 16 bytes in base64');
  const length = headers['content-length'];
  if ((length !== undefined && length.trim() !== '0') || headers['transfer-encoding'] !== undefined)
    throw new WaitlessError('bad-request', 'a request for a WebSocket has no body');
}

/**
 * A browser sends what it keeps for us along with any page's WebSocket, and no preflight asks first: only pages of this very host and those that are
 * allowed by name may open one. Who is no browser sends no Origin.
 */
function checkOrigin({ caller: { origin, host } }: Upgrade, auth: Pick<Auth, 'allowsOrigin'>): void {
  if (origin === undefined || origin === `http://${host}` || origin === `https://${host}`) return;
  if (auth.allowsOrigin(origin)) return;
  throw new WaitlessError(
    'origin-not-allowed',
    `Origin ${JSON.stringify(origin.slice(0, 128))} may not open a WebSocket here; start the server with --cors-origin to allow it`,
  );
}

function offeredProtocols({ request }: Upgrade): string[] {
  const field = request.headers['sec-websocket-protocol'];
  if (field === undefined) return [];
  const offered = field.split(',').map((name) => name.trim());
  if (new Set(offered).size < offered.length || offered.some((name) => !/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)))
    throw new WaitlessError('invalid-parameter', 'Sec-WebSocket-Protocol must be a list of different names');
  return offered;
}

function whose(
  { caller, tokens, visit }: Upgrade,
  { auth, offered }: { auth: Pick<Auth, 'namespace'>; offered: readonly string[] },
): Welcome {
  const shown = [
    ...tokens,
    ...offered.filter((name) => name.startsWith(streamTokenPrefix)).map((name) => name.slice(streamTokenPrefix.length)),
  ];
  const [token] = shown;
  if (token === undefined) return { namespace: auth.namespace(caller), visit: undefined };
  if (shown.length > 1) throw new WaitlessError('invalid-parameter', 'send one read-only token, not two');
  if (caller.authorization !== undefined)
    throw new WaitlessError(
      'invalid-parameter',
      'send an API key or a read-only token, not both: one of them is too much',
    );
  const opened = visit(token);
  return { namespace: opened.namespace, visit: opened };
}
