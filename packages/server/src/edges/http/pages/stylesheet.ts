// The one style sheet of the pages for people, served at /style.css: light and dark, from a phone to a wide screen.

/** Contrast of every text colour on its ground is at least 4.5 to 1 in both schemes (WCAG 2.2, 1.4.3). */
export const stylesheet = `:root {
  color-scheme: light dark;
  --ground: #fbfbfa; --panel: #ffffff; --line: #e4e4e0; --text: #1c1e1d; --quiet: #5f6663; --link: #0b6b62; --code: #f3f4f1;
  --waiting: #6b5b12; --running: #1d5fa8; --done: #1c7040; --failed: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131615; --panel: #1a1e1c; --line: #2e3431; --text: #e8ebe9; --quiet: #a0a9a5; --link: #6fd0c4; --code: #111413;
    --waiting: #d8c266; --running: #8fbef0; --done: #7fcf9d; --failed: #f59a92;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main, header, footer { max-width: 60rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.25rem; }
main { padding-bottom: 1rem; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; letter-spacing: -.015em; text-wrap: balance; }
h2 { margin: 2.25rem 0 .75rem; font-size: 1.05rem; }
p { margin: .5rem 0; max-width: 44rem; }
a { color: var(--link); text-underline-offset: .15em; }
a:focus-visible, pre:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 3px; }
.quiet { color: var(--quiet); }
.small { font-size: .875rem; }
code, pre, .id { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .875em; }
code { overflow-wrap: anywhere; }
pre { margin: .5rem 0 0; padding: .75rem 1rem; overflow-x: auto; background: var(--code); border: 1px solid var(--line); border-radius: 8px; line-height: 1.6; }
pre code { overflow-wrap: normal; font-size: inherit; }
ol.steps { margin: 0; padding: 0; list-style: none; display: grid; grid-template-columns: minmax(0, 1fr); gap: 1rem; }
.panel { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
.empty { padding: 1rem 1.25rem; }
.empty p { margin: 0; }
.empty code { white-space: nowrap; }
table { width: 100%; border-collapse: collapse; font-size: .9375rem; }
th, td { padding: .55rem 1rem; text-align: left; vertical-align: baseline; }
th { font-size: .8125rem; font-weight: 600; color: var(--quiet); white-space: nowrap; }
tbody tr, tbody tr td { border-top: 1px solid var(--line); }
td { overflow-wrap: anywhere; }
.id { font-size: .8125rem; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.age { white-space: nowrap; font-variant-numeric: tabular-nums; color: var(--quiet); }
.links { white-space: nowrap; }
.links a + a, nav a + a { margin-left: .75rem; }
.state { font-weight: 550; }
.state::before { content: ""; display: inline-block; width: .5em; height: .5em; margin-right: .5em; border-radius: 50%; background: currentColor; vertical-align: .1em; }
.queued { color: var(--waiting); } .running { color: var(--running); } .succeeded { color: var(--done); } .failed { color: var(--failed); } .cancelled { color: var(--quiet); }
.note { display: block; color: var(--quiet); font-size: .8125rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .4rem 1.25rem; margin: 1.25rem 0; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
.codes { columns: 16rem; column-gap: 2rem; padding: 0; margin: 0; list-style: none; font-size: .875rem; }
.codes li { break-inside: avoid; padding: .1rem 0; }
footer { padding-top: 1.25rem; padding-bottom: 2.5rem; font-size: .875rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
nav a + a { margin-left: 0; }
@media (max-width: 40rem) {
  header { padding-top: 1.5rem; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody, tr, td { display: block; }
  tbody tr { padding: .65rem 1rem; }
  tbody tr td { display: grid; grid-template-columns: 6.5rem 1fr; gap: .5rem; padding: .15rem 0; border: 0; text-align: left; }
  td::before { content: attr(data-label); color: var(--quiet); font-size: .8125rem; }
  tbody tr:first-child { border-top: 0; }
  .links, .age, .id { white-space: normal; }
  .number { text-align: left; }
  pre { font-size: .8125rem; }
}
`;
