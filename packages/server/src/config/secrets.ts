// Reads the secrets that requests to a backend are signed with. None of them ever stands in a message.
import { webhookKey } from '@waitless/protocol';
import { WrongValue } from './config-error.ts';

/** What stands in the place of a secret where a configuration is shown. */
export const mask = '***';

/** Two are enough to replace one by another without a gap. */
const mostSecrets = 2;

/** One secret, or the new one and the one it replaces. */
export function secretsValue(value: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (list.length === 0 || list.length > mostSecrets)
    throw new WrongValue('it takes one secret, or a list of the new one and the one before');
  const secrets = list.map((secret) => {
    if (secret === mask)
      throw new WrongValue(`${mask} is shown in the place of a secret, which is needed here; write "${'${env:NAME}'}"`);
    if (typeof secret !== 'string' || webhookKey(secret) === undefined)
      throw new WrongValue(
        'it takes "whsec_" and 24 to 64 random bytes in base64 (printf whsec_; openssl rand -base64 32), best as "${env:NAME}"',
      );
    return secret;
  });
  if (new Set(secrets).size < secrets.length) throw new WrongValue('the same secret stands there twice; keep one');
  return Object.freeze(secrets);
}
