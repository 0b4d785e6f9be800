// A real browser for a test, where one is installed: headless Chromium with a profile of its own, ended by its process id.
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, type TestContext } from 'node:test';
import { type Browser, chromium, type Page } from 'playwright-core';
import { cleanUp } from './cleanup.ts';

const names = ['chromium', 'chromium-browser', 'google-chrome'];

/** The browser that is installed, if there is one. */
const installed: string | undefined = (process.env['PATH'] ?? '')
  .split(delimiter)
  .flatMap((folder) => names.map((name) => join(folder, name)))
  .find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

/** For `test(name, { skip }, …)`. */
export const withoutBrowser = installed === undefined ? 'skipped: no Chromium found' : false;

/** Nothing but the pages of a test is asked for, and a root user may run it. */
const flags = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--no-default-browser-check',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-extensions',
  '--remote-debugging-port=0',
];

interface Running {
  browser: Browser;
  end: () => Promise<void>;
}

/** One for all tests of a file: starting one takes longer than most of them. */
let running: Promise<Running> | undefined;
after(async () => (await running)?.end());

async function start(): Promise<Running> {
  const profile = await mkdtemp(join(tmpdir(), 'waitless-browser-'));
  // A group of its own: the browser is several processes, and some of them outlive the first by a moment.
  const child = spawn(installed!, [...flags, `--user-data-dir=${profile}`, 'about:blank'], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: profile },
  });
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const end = async (): Promise<void> => {
    endGroup(child);
    await gone;
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    return { browser: await chromium.connectOverCDP(await debuggerOf(child)), end };
  } catch (error) {
    await end();
    throw error;
  }
}

/** A page that knows nothing of the pages of other tests, closed when the test has ended. */
export async function pageFor(t: TestContext): Promise<Page> {
  const { browser } = await (running ??= start());
  const context = await browser.newContext();
  cleanUp(t, () => context.close());
  return context.newPage();
}

function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

/** The address that the browser prints once it can be spoken to. */
function debuggerOf(child: ChildProcess): Promise<string> {
  let printed = '';
  return new Promise((resolve, reject) => {
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
      const found = /DevTools listening on (ws:\S+)/.exec(printed);
      if (found) resolve(found[1]!);
    });
    child.once('error', reject);
    child.once('close', () => reject(new Error(`the browser ended before it could be spoken to:\n${printed}`)));
  });
}
