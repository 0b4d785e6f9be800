// Topic names and patterns in trees of words, so that what matches is found along the words of one side and never by trying every one of the other.
//
// A name is words joined by dots. In a pattern `*` stands for exactly one word and `**` (or `#`) for any number, none included.
import { isName } from '@waitless/protocol';

/** Longer names make every row and every log line longer; nobody has needed more. */
export const mostTopicLength = 255;
/** Each `**` can multiply the ways to match; with so few, matching stays in proportion to the names there are. */
const mostDeep = 4;

const isDeep = (word: string): boolean => word === '**' || word === '#';

export const isTopicName = (text: string): boolean =>
  text.length <= mostTopicLength && text !== '' && text.split('.').every((word) => isName(word));

export function isTopicPattern(text: string): boolean {
  if (text.length > mostTopicLength || text === '') return false;
  const words = text.split('.');
  return words.filter(isDeep).length <= mostDeep && words.every((word) => word === '*' || isDeep(word) || isName(word));
}

/** A pattern that is a name matches that alone. */
export const isPlain = (pattern: string): boolean => !/[*#]/.test(pattern);

interface NameNode<T> {
  words: Map<string, NameNode<T>>;
  values: T[];
}

const newNode = <T>(): NameNode<T> => ({ words: new Map(), values: [] });

/** Names, asked for those that a pattern matches. */
export class TopicNames<T> {
  readonly #root: NameNode<T> = newNode();

  add(name: string, value: T): void {
    let node = this.#root;
    for (const word of name.split('.')) {
      let next = node.words.get(word);
      if (!next) node.words.set(word, (next = newNode()));
      node = next;
    }
    node.values.push(value);
  }

  matching(pattern: string): T[] {
    const found = new Set<NameNode<T>>();
    const words = pattern.split('.');
    // Where two `**` meet, a node is reached at the same place of the pattern in many ways: once is enough.
    const seen = words.map(() => new Set<NameNode<T>>());
    const visit = (node: NameNode<T>, at: number): void => {
      if (at === words.length) return void found.add(node);
      if (seen[at]!.has(node)) return;
      seen[at]!.add(node);
      const word = words[at]!;
      if (isDeep(word)) {
        visit(node, at + 1);
        for (const next of node.words.values()) visit(next, at);
      } else if (word === '*') for (const next of node.words.values()) visit(next, at + 1);
      else {
        const next = node.words.get(word);
        if (next) visit(next, at + 1);
      }
    };
    visit(this.#root, 0);
    return [...found].flatMap((node) => node.values);
  }
}

interface PatternNode<T> {
  /** Reached by `**`: any number of words leads back to it. */
  isDeep: boolean;
  words: Map<string, PatternNode<T>>;
  one: PatternNode<T> | undefined;
  deep: PatternNode<T> | undefined;
  values: Set<T>;
}

const newPatternNode = <T>(isDeep = false): PatternNode<T> => ({
  isDeep,
  words: new Map(),
  one: undefined,
  deep: undefined,
  values: new Set(),
});

/** Patterns, asked for those that match a name. */
export class TopicPatterns<T> {
  readonly #root: PatternNode<T> = newPatternNode();

  add(pattern: string, value: T): void {
    this.#path(pattern).at(-1)!.node.values.add(value);
  }

  delete(pattern: string, value: T): void {
    const path = this.#path(pattern);
    path.at(-1)!.node.values.delete(value);
    for (let i = path.length - 1; i > 0; i--) {
      const { node, word } = path[i]!;
      if (node.values.size > 0 || node.words.size > 0 || node.one || node.deep) return;
      const { node: above } = path[i - 1]!;
      if (isDeep(word)) above.deep = undefined;
      else if (word === '*') above.one = undefined;
      else above.words.delete(word);
    }
  }

  #path(pattern: string): { node: PatternNode<T>; word: string }[] {
    let node = this.#root;
    const path = [{ node, word: '' }];
    for (const word of pattern.split('.')) {
      if (isDeep(word)) node = node.deep ??= newPatternNode(true);
      else if (word === '*') node = node.one ??= newPatternNode();
      else {
        let next = node.words.get(word);
        if (!next) node.words.set(word, (next = newPatternNode()));
        node = next;
      }
      path.push({ node, word });
    }
    return path;
  }

  matching(name: string): Set<T> {
    const found = new Set<T>();
    const words = name.split('.');
    const seen = Array.from({ length: words.length + 1 }, () => new Set<PatternNode<T>>());
    const visit = (node: PatternNode<T>, at: number): void => {
      if (seen[at]!.has(node)) return;
      seen[at]!.add(node);
      // Word by word, as far as it has not been before: to try every rest anew would cost the square of the words.
      if (node.deep) visit(node.deep, at);
      if (node.isDeep && at < words.length) visit(node, at + 1);
      if (at === words.length) {
        for (const value of node.values) found.add(value);
        return;
      }
      if (node.one) visit(node.one, at + 1);
      const next = node.words.get(words[at]!);
      if (next) visit(next, at + 1);
    };
    visit(this.#root, 0);
    return found;
  }
}
