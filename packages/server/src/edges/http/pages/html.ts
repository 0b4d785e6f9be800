// Builds HTML so that nothing can be forgotten to escape: every value put into a template is text unless it is Html itself.

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** The text as it may stand between tags and inside quoted attributes. Control characters that no document may hold become U+FFFD. */
export const escapeHtml = (text: string): string =>
  text
    .replace(/[&<>"']/g, (character) => entities[character]!)
    // oxlint-disable-next-line no-control-regex -- control characters are what is replaced
    .replace(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/g, '\ufffd');

/** Markup that the `html` tag made. */
export class Html {
  readonly markup: string;
  constructor(markup: string) {
    this.markup = markup;
  }
  toString(): string {
    return this.markup;
  }
}

type Value = string | number | Html | undefined | readonly Value[];

const render = (value: Value): string => {
  if (value === undefined) return '';
  if (value instanceof Html) return value.markup;
  return typeof value === 'object' ? value.map(render).join('') : escapeHtml(String(value));
};

/** A template tag: text and numbers are escaped, Html and lists of it are put in as they are, undefined is nothing. */
export const html = (parts: TemplateStringsArray, ...values: Value[]): Html =>
  new Html(parts.reduce((markup, part, index) => markup + render(values[index - 1]) + part));
