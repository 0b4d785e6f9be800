// Callback secrets over HTTP: what a namespace has, without any value, and a new one, whose value is shown this once.
import { type CallbackSecrets, defaultOverlapMs } from '../../core/callback-secrets.ts';
import { type Clock, isoTime } from '../../lib/clock.ts';
import { type Handler, jsonAnswer } from './exchange.ts';
import { jsonBody } from './json-body.ts';
import { Shape } from '../json/shape.ts';

const controlBytes = 256 * 1024;
const hourMs = 3600 * 1000;
/** A week is enough for every receiver there is; two secrets at once are twice as many to lose. */
const mostOverlapHours = 168;

export function callbackSecretHandlers({ secrets, clock }: { secrets: CallbackSecrets; clock: Clock }) {
  const list: Handler = async ({ namespace }) => {
    const items = (await secrets.list(namespace)).map(({ id, createdAt, validUntil, readable }) => ({
      id,
      createdAt: isoTime(createdAt),
      ageSeconds: Math.max(0, Math.floor((clock.now() - createdAt) / 1000)),
      validUntil: isoTime(validUntil),
      readable,
    }));
    return jsonAnswer(200, JSON.stringify({ items, next: null }));
  };

  const rotate: Handler = async (exchange) => {
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    const hours = new Shape(value, '', ['overlapHours']).number('overlapHours', { least: 0, most: mostOverlapHours });
    const overlapMs = hours === undefined ? defaultOverlapMs : Math.round(hours * hourMs);
    const { id, secret, createdAt, previous } = await secrets.rotate(exchange.namespace, { overlapMs });
    return jsonAnswer(
      200,
      JSON.stringify({
        id,
        secret,
        createdAt: isoTime(createdAt),
        previous: previous && { id: previous.id, validUntil: isoTime(previous.validUntil) },
      }),
    );
  };

  return { list, rotate };
}
