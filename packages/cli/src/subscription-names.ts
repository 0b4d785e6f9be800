// An unknown subscription is most often a typing error, so the names there are belong into the sentence.
import { WaitlessError, type WaitlessClient } from '@waitless/client';
import { Failure } from './failure.ts';

/** The same error, with the names there are where it is about one that there is not. */
export async function withSubscriptionNames(error: unknown, name: string, client: WaitlessClient): Promise<unknown> {
  if (!(error instanceof WaitlessError) || error.code !== 'unknown-subscription') return error;
  const names = await client.subscriptions.list().then(
    (all) => all.map((one) => one.name),
    () => [],
  );
  if (names.length === 0)
    return new Failure(
      `there is no subscription "${name}", nor any other. \`npx waitless subscriptions put ${name} --topic 'orders.*' --pull\` makes one.`,
    );
  const list = `${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}`;
  return new Failure(`there is no subscription "${name}" here, only: ${list}.`);
}
