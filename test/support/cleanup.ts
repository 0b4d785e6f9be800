// What a test has made is taken away when it ends, the last thing first: a process before the folder it works in, a mount before its image.
import type { TestContext } from 'node:test';

type Step = () => unknown;
const steps = new WeakMap<TestContext, Step[]>();

/** Runs at the end of the test, before everything that was registered earlier. All steps run, whatever fails; the first failure is the test's. */
export function cleanUp(t: TestContext, step: Step): void {
  const known = steps.get(t);
  if (known) return void known.push(step);
  const own = [step];
  steps.set(t, own);
  t.after(async () => {
    let failure: { error: unknown } | undefined;
    for (let last = own.pop(); last; last = own.pop()) {
      try {
        await last();
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure) throw failure.error;
  });
}
