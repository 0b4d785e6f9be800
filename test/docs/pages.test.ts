// The pages say what the code does: generated tables are fresh, names that people look up are there, links lead somewhere.
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { headerTable } from '@waitless/protocol';
import { generatedPages } from '../../scripts/generate-docs.mjs';
import { get } from '../support/http.ts';
import { serverFor } from '../support/server.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** The anchors that headings get: lower case, words joined by hyphens, punctuation gone. */
function anchorsOf(markdown: string): Set<string> {
  const headings = markdown.replace(/^```[^]*?^```/gm, '').matchAll(/^#+ (.+)$/gm);
  return new Set(
    Array.from(headings, ([, heading]) =>
      heading!
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

test('the generated tables are fresh', () => {
  const stale = generatedPages().filter((page) => page.isStale);
  assert.deepEqual(
    stale.map((page) => page.path),
    [],
    'run: node scripts/generate-docs.mjs',
  );
});

test('every header that has a meaning stands in docs/http-api.md', () => {
  const page = read('docs/http-api.md');
  const missing = headerTable.filter(({ name }) => !page.includes(name));
  assert.deepEqual(missing, []);
});

test('docs/operate.md names every metric of ours, and none that there is not', async (t) => {
  const server = await serverFor(t, { services: { jobs: { target: { pull: true } } } });
  const { text } = await get(`${server.url}/metrics`);
  const served = new Set(Array.from(text.matchAll(/^# TYPE (waitless_\w+) /gm), ([, name]) => name!));
  const told = new Set(Array.from(read('docs/operate.md').matchAll(/`(waitless_\w+)`/g), ([, name]) => name!));
  assert.deepEqual([...told].toSorted(), [...served].toSorted());
});

test('links between the pages lead to files and headings that exist', () => {
  const pages = ['*.md', 'docs/**/*.md', 'examples/**/*.md', 'bench/*.md'].flatMap((glob) =>
    globSync(glob, { cwd: root }),
  );
  assert.ok(pages.includes('README.md'));
  const broken: string[] = [];
  for (const page of pages) {
    const markdown = read(page).replace(/^```[^]*?^```/gm, '');
    const links = [
      ...Array.from(markdown.matchAll(/\]\(([^)\s]+)\)/g), ([, link]) => link!),
      ...Array.from(markdown.matchAll(/(?:src|srcset|href)="([^"]+)"/g), ([, link]) => link!),
    ];
    for (const link of links) {
      if (/^[a-z]+:/.test(link)) continue;
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? join(root, page) : resolve(root, dirname(page), path);
      if (!existsSync(target)) broken.push(`${page}: ${link}`);
      else if (anchor !== undefined && !anchorsOf(readFileSync(target, 'utf8')).has(anchor))
        broken.push(`${page}: ${link}`);
    }
  }
  assert.deepEqual(broken, []);
});

test('docs/guarantees.md calls every test by its title', () => {
  const links = [...read('docs/guarantees.md').matchAll(/\[([^\]]+)\]\(\.\.\/((?:test|packages)\/[^)]+)\)/g)];
  assert.ok(links.length > 30);
  const unknown = links.filter(([, title, path]) => {
    const source = read(path!);
    // A title in single quotes may have its apostrophes escaped.
    return !source.includes(title!) && !source.includes(title!.replaceAll("'", "\\'"));
  });
  assert.deepEqual(
    unknown.map(([link]) => link),
    [],
  );
});
