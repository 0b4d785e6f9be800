// The page behind the `type` of a problem document: what the code means and what to do.
import { type ErrorCode, type ErrorEntry, errorTable, routePath } from '@waitless/protocol';
import { html } from './html.ts';
import { page } from './page.ts';

const entries = Object.entries(errorTable) as [ErrorCode, ErrorEntry][];

/** The whole page as HTML, or undefined where no problem has this code. */
export function problemPage(code: string): string | undefined {
  if (!Object.hasOwn(errorTable, code)) return undefined;
  const { status, title, help, retry } = errorTable[code as ErrorCode] as ErrorEntry;
  const body = html`<header>
      <p class="quiet small"><a href="../">Waitless</a> / problems</p>
      <h1>${title}</h1>
    </header>
    <main>
      <p>${help}</p>
      <dl>
        <dt>Code</dt>
        <dd><code>${code}</code></dd>
        <dt>Status</dt>
        <dd>${status}</dd>
        <dt>Repeat</dt>
        <dd>
          ${retry ? 'The same request may succeed later. Where the answer has Retry-After, wait that many seconds.' : 'The same request will get the same answer; change it first.'}
        </dd>
      </dl>
      <p class="quiet">
        The <code>detail</code> of the answer says what was wrong in that very request; its <code>instance</code> finds
        the line in the server's log.
      </p>
      <h2>All codes</h2>
      <ul class="codes">
        ${entries.map(([other, entry]) => html`<li>${entry.status} ${other === code ? html`<strong>${other}</strong>` : html`<a href="..${routePath('problem', { code: other })}">${other}</a>`}</li>`)}
      </ul>
    </main>`;
  return page({ title: `${title} (${code})`, root: '../', body });
}
