/** The syntax of RE2's regular expressions, as a tree. Groups and greediness leave no trace. Source: google/re2 doc/syntax.txt. */
export type Test = (codePoint: number) => boolean;
export type Assertion = 'begin' | 'end' | 'line-begin' | 'line-end' | 'word' | 'not-word';
export type Node =
  | { op: 'char'; test: Test }
  | { op: 'assert'; what: Assertion }
  | { op: 'sequence'; nodes: Node[] }
  | { op: 'either'; nodes: Node[] }
  | { op: 'repeat'; node: Node; min: number; max: number };

const MAX_DEPTH = 100;
/** RE2's own limit of a counted repetition. */
const MAX_REPEAT = 1000;

/** Not RE2, or a part of it that we do not support. */
export class Unsupported extends Error {}

const isDigit: Test = (c) => c >= 48 && c <= 57;
export const isWord: Test = (c) => isDigit(c) || (c >= 65 && c <= 90) || (c >= 97 && c <= 122) || c === 95;
const isSpace: Test = (c) => c === 32 || (c >= 9 && c <= 13 && c !== 11);
const isLetter: Test = (c) => (c >= 65 && c <= 90) || (c >= 97 && c <= 122);
const posix: { readonly [name: string]: Test } = {
  alnum: (c) => isLetter(c) || isDigit(c),
  alpha: isLetter,
  ascii: (c) => c < 128,
  blank: (c) => c === 9 || c === 32,
  cntrl: (c) => c < 32 || c === 127,
  digit: isDigit,
  graph: (c) => c > 32 && c < 127,
  lower: (c) => c >= 97 && c <= 122,
  print: (c) => c >= 32 && c < 127,
  punct: (c) => c > 32 && c < 127 && !isLetter(c) && !isDigit(c),
  space: (c) => c === 32 || (c >= 9 && c <= 13),
  upper: (c) => c >= 65 && c <= 90,
  word: isWord,
  xdigit: (c) => isDigit(c) || (c >= 65 && c <= 70) || (c >= 97 && c <= 102),
};
const controlEscapes: { readonly [letter: string]: number } = { a: 7, f: 12, t: 9, n: 10, r: 13, v: 11 };

interface Flags {
  ignoreCase: boolean;
  multiLine: boolean;
  dotNewline: boolean;
}

class Parser {
  readonly chars: string[];
  at = 0;
  depth = 0;
  flags: Flags = { ignoreCase: false, multiLine: false, dotNewline: false };

  constructor(pattern: string) {
    this.chars = [...pattern];
  }

  either(): Node {
    if (++this.depth > MAX_DEPTH) throw new Unsupported();
    const before = this.flags;
    const nodes = [this.sequence()];
    while (this.take('|')) nodes.push(this.sequence());
    this.flags = before;
    this.depth--;
    return nodes.length === 1 ? nodes[0]! : { op: 'either', nodes };
  }

  take(text: string): boolean {
    if (this.chars[this.at] !== text) return false;
    this.at++;
    return true;
  }

  next(): string {
    const c = this.chars[this.at++];
    if (c === undefined) throw new Unsupported();
    return c;
  }

  sequence(): Node {
    const nodes: Node[] = [];
    for (;;) {
      const c = this.chars[this.at];
      if (c === undefined || c === '|' || c === ')') return { op: 'sequence', nodes };
      const atom = this.atom();
      if (atom !== undefined) nodes.push(this.quantified(atom));
    }
  }

  quantified(atom: Node): Node {
    let node = atom;
    let quantifiers = 0;
    for (;;) {
      const range = this.quantifier();
      if (range === undefined) return node;
      // RE2 refuses a second quantifier; a lone '?' after the first was taken as "lazy".
      if (quantifiers++ > 0) throw new Unsupported();
      this.take('?');
      node = { op: 'repeat', node, min: range[0], max: range[1] };
    }
  }

  quantifier(): [number, number] | undefined {
    if (this.take('*')) return [0, Number.POSITIVE_INFINITY];
    if (this.take('+')) return [1, Number.POSITIVE_INFINITY];
    if (this.take('?')) return [0, 1];
    if (this.chars[this.at] !== '{') return undefined;
    const close = this.chars.indexOf('}', this.at);
    const m = close === -1 ? null : /^(\d{1,4})(,(\d{1,4})?)?$/.exec(this.chars.slice(this.at + 1, close).join(''));
    if (m === null) return undefined;
    const min = Number(m[1]);
    const max = m[2] === undefined ? min : m[3] === undefined ? Number.POSITIVE_INFINITY : Number(m[3]);
    if (min > MAX_REPEAT || (max !== Number.POSITIVE_INFINITY && (max > MAX_REPEAT || max < min))) throw new Unsupported();
    this.at = close + 1;
    return [min, max];
  }

  /** `undefined` for what matches nothing by itself: a change of flags. */
  atom(): Node | undefined {
    const c = this.next();
    switch (c) {
      case '(':
        return this.group();
      case '[':
        return { op: 'char', test: this.charClass() };
      case '.': {
        const newline = this.flags.dotNewline;
        return { op: 'char', test: (p) => newline || p !== 10 };
      }
      case '^':
        return { op: 'assert', what: this.flags.multiLine ? 'line-begin' : 'begin' };
      case '$':
        return { op: 'assert', what: this.flags.multiLine ? 'line-end' : 'end' };
      case '\\':
        return this.escape();
      case '*':
      case '+':
      case '?':
        throw new Unsupported();
      default:
        return this.literal(c.codePointAt(0)!);
    }
  }

  literal(codePoint: number): Node {
    return { op: 'char', test: this.fold((p) => p === codePoint) };
  }

  /** The test, or under (?i) the test of either case. */
  fold(test: Test): Test {
    if (!this.flags.ignoreCase) return test;
    return (p) => {
      if (test(p)) return true;
      const text = String.fromCodePoint(p);
      const lower = text.toLowerCase();
      const upper = text.toUpperCase();
      return test(lower.codePointAt(0)!) || (upper.length === text.length && test(upper.codePointAt(0)!));
    };
  }

  group(): Node | undefined {
    if (this.chars[this.at] === '?') {
      this.at++;
      if (this.take('P')) {
        if (!this.take('<')) throw new Unsupported();
        this.groupName();
      } else if (this.take('<')) this.groupName();
      else {
        const flags = { ...this.flags };
        let value = true;
        for (let c = this.next(); ; c = this.next()) {
          if (c === '-') value = false;
          else if (c === 'i') flags.ignoreCase = value;
          else if (c === 'm') flags.multiLine = value;
          else if (c === 's') flags.dotNewline = value;
          else if (c === ')') {
            this.flags = flags;
            return undefined;
          } else if (c === ':') return this.closeGroup(flags);
          else if (c !== 'U') throw new Unsupported();
        }
      }
    }
    return this.closeGroup(this.flags);
  }

  groupName(): void {
    while (this.next() !== '>');
  }

  closeGroup(flags: Flags): Node {
    const outer = this.flags;
    this.flags = flags;
    const node = this.either();
    this.flags = outer;
    if (!this.take(')')) throw new Unsupported();
    return node;
  }

  escape(): Node | undefined {
    const c = this.chars[this.at];
    if (c === 'A') return this.assertion('begin');
    if (c === 'z') return this.assertion('end');
    if (c === 'b') return this.assertion('word');
    if (c === 'B') return this.assertion('not-word');
    if (c === 'Q') return this.quoted();
    const known = this.classEscape();
    return typeof known === 'number' ? this.literal(known) : { op: 'char', test: this.fold(known) };
  }

  /** `\\Q…\\E`: each character by itself, so a quantifier behind it is the last one's. */
  quoted(): Node | undefined {
    let end = this.at + 1;
    while (end < this.chars.length && !(this.chars[end] === '\\' && this.chars[end + 1] === 'E')) end++;
    const plain = this.chars.slice(this.at + 1, end).flatMap((c) => (/[0-9A-Za-z]/.test(c) ? [c] : ['\\', c]));
    this.chars.splice(this.at, end + 2 - this.at, ...plain);
    return undefined;
  }

  assertion(what: Assertion): Node {
    this.at++;
    return { op: 'assert', what };
  }

  /** After a backslash: a class, or one code point. */
  classEscape(): Test | number {
    const c = this.next();
    switch (c) {
      case 'd':
        return isDigit;
      case 'D':
        return (p) => !isDigit(p);
      case 'w':
        return isWord;
      case 'W':
        return (p) => !isWord(p);
      case 's':
        return isSpace;
      case 'S':
        return (p) => !isSpace(p);
      case 'p':
      case 'P':
        return this.unicodeClass(c === 'P');
      case 'x':
        return this.hexEscape();
      default: {
        const control = controlEscapes[c];
        if (control !== undefined) return control;
        if (/[0-9A-Za-z]/.test(c)) throw new Unsupported();
        return c.codePointAt(0)!;
      }
    }
  }

  hexEscape(): number {
    let digits = '';
    if (this.take('{')) for (let c = this.next(); c !== '}'; c = this.next()) digits += c;
    else digits = this.next() + this.next();
    const value = /^[0-9a-fA-F]{1,6}$/.test(digits) ? Number.parseInt(digits, 16) : Number.NaN;
    if (!(value <= 0x10ffff)) throw new Unsupported();
    return value;
  }

  unicodeClass(negated: boolean): Test {
    let name = this.next();
    if (name === '{') {
      name = '';
      for (let c = this.next(); c !== '}'; c = this.next()) name += c;
    }
    const inverted = name.startsWith('^') !== negated;
    const bare = name.replace(/^\^/, '');
    if (!/^[A-Z][A-Za-z_]*$/.test(bare)) throw new Unsupported();
    let property: RegExp;
    try {
      property = new RegExp(bare.length <= 2 ? `^\\p{${bare}}$` : `^\\p{Script=${bare}}$`, 'u');
    } catch {
      throw new Unsupported();
    }
    return (p) => property.test(String.fromCodePoint(p)) !== inverted;
  }

  charClass(): Test {
    const negated = this.take('^');
    const tests: Test[] = [];
    for (let first = true; ; first = false) {
      const c = this.next();
      if (c === ']' && !first) break;
      if (c === '[' && this.chars[this.at] === ':') {
        tests.push(this.posixClass());
        continue;
      }
      const low = c === '\\' ? this.classEscape() : c.codePointAt(0)!;
      if (typeof low !== 'number') {
        tests.push(low);
        continue;
      }
      if (this.chars[this.at] === '-' && this.chars[this.at + 1] !== ']' && this.chars[this.at + 1] !== undefined) {
        this.at++;
        const end = this.next();
        const high = end === '\\' ? this.classEscape() : end.codePointAt(0)!;
        if (typeof high !== 'number' || high < low) throw new Unsupported();
        tests.push((p) => p >= low && p <= high);
      } else tests.push((p) => p === low);
    }
    const test = this.fold((p) => tests.some((t) => t(p)));
    return negated ? (p) => !test(p) : test;
  }

  posixClass(): Test {
    this.at++;
    const inverted = this.take('^');
    let name = '';
    for (let c = this.next(); c !== ':'; c = this.next()) name += c;
    if (!this.take(']')) throw new Unsupported();
    const test = Object.hasOwn(posix, name) ? posix[name] : undefined;
    if (test === undefined) throw new Unsupported();
    return inverted ? (p) => !test(p) : test;
  }
}

/** @throws {Unsupported} */
export function parsePattern(pattern: string): Node {
  const parser = new Parser(pattern);
  const node = parser.either();
  if (parser.at < parser.chars.length) throw new Unsupported();
  return node;
}
