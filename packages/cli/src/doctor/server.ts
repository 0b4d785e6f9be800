// What `waitless doctor` learns from a running server: who answers, which version, whether it takes work, what time it has.
import { type Finding, finding } from './finding.ts';

export type Answerer =
  | { kind: 'waitless'; version: string; skewMs: number | undefined; ready: string | undefined }
  | { kind: 'other'; what: string }
  | { kind: 'nobody'; why: string };

const patienceMs = 5_000;

/** Who answers at this URL. Sends nothing that needs a key. */
export async function lookAt(url: string, now: () => number): Promise<Answerer> {
  const before = now();
  let answer: Response;
  try {
    answer = await fetch(`${url}/openapi.json`, { signal: AbortSignal.timeout(patienceMs), redirect: 'manual' });
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : (error as Error);
    const { code } = cause as NodeJS.ErrnoException;
    if (code?.startsWith('HPE_')) return { kind: 'other', what: 'what answers there does not speak HTTP' };
    return { kind: 'nobody', why: code === 'ECONNREFUSED' ? 'connection refused' : cause.message };
  }
  const after = now();
  const document = (await answer.json().catch(() => undefined)) as { info?: Record<string, unknown> } | undefined;
  const { title, version } = document?.info ?? {};
  if (title !== 'Waitless' || typeof version !== 'string')
    return { kind: 'other', what: `what answers there (${answer.status}) is not Waitless` };
  const ready = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(patienceMs) }).then(
    async (response) => {
      if (response.ok) return undefined;
      const problem = (await response.json().catch(() => ({}))) as { detail?: string; title?: string };
      return problem.detail ?? problem.title ?? `it answers ${response.status}`;
    },
    () => 'it does not say whether it is ready',
  );
  const time = Date.parse(answer.headers.get('date') ?? '');
  // The header has whole seconds, and the answer may have been on its way for long.
  const skewMs = Number.isNaN(time) ? undefined : Math.max(0, before - 1_000 - time, time - after - 1_000);
  return { kind: 'waitless', version, skewMs, ready };
}

/** @param asked whether the URL was given; at the usual one it is no fault that nobody is there yet */
export function checkServer({
  url,
  who,
  own,
  asked,
}: {
  url: string;
  who: Answerer;
  own: string;
  asked: boolean;
}): Finding {
  if (who.kind === 'nobody') {
    const start = '`npx waitless dev` or `npx waitless serve --target NAME=URL` starts one';
    return asked
      ? finding('server', 'wrong', `${url} cannot be reached: ${who.why}; ${start}, or mend --url or WAITLESS_URL`)
      : finding('server', 'note', `none at ${url} yet; ${start}`);
  }
  if (who.kind === 'other')
    return finding('server', 'wrong', `${url}: ${who.what}; give the server's own address with --url or WAITLESS_URL`);
  if (who.ready !== undefined) return finding('server', 'wrong', `${url} runs but takes no work: ${who.ready}`);
  return who.version === own
    ? finding('server', 'ok', `${url} runs Waitless ${who.version}`)
    : finding(
        'server',
        'note',
        `${url} runs Waitless ${who.version}, and this command is ${own}; use the same for both`,
      );
}
