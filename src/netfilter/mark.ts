/**
 * Packet and connection marks of which some bits may be unknown, and the arithmetic that rules do with them.
 *
 * Unknown bits keep the name of where they came from, so that asking twice about the same bits is one question.
 * Source: Linux net/netfilter/xt_mark.c, xt_connmark.c, nft_bitwise.c.
 */
export interface Mark {
  /** Bits that are not known are zero here. */
  readonly value: number;
  readonly known: number;
  /** Names the unknown bits. */
  readonly origin: string;
}

export type MarkExpression =
  | { readonly op: 'constant'; readonly value: number }
  | { readonly op: 'mark' }
  /** A value that is not known: chance, a map. */
  | { readonly op: 'unknown'; readonly text: string }
  | { readonly op: 'connmark' }
  | { readonly op: '&' | '|' | '^'; readonly left: MarkExpression; readonly right: MarkExpression }
  | { readonly op: '<<' | '>>'; readonly left: MarkExpression; readonly bits: number };

const ALL = 0xffffffff;

export function knownMark(value: number): Mark {
  return { value: value >>> 0, known: ALL, origin: '' };
}

export function unknownMark(origin: string): Mark {
  return { value: 0, known: 0, origin };
}

export const constant = (value: number): MarkExpression => ({ op: 'constant', value: value >>> 0 });

/** `(of & ~mask) ^ value`: what every iptables MARK option comes down to. */
export function maskedXor(of: 'mark' | 'connmark', mask: number, value: number): MarkExpression {
  if (mask >>> 0 === ALL) return constant(value);
  return { op: '^', left: { op: '&', left: { op: of }, right: constant(~mask) }, right: constant(value) };
}

export function evaluateMark(expression: MarkExpression, mark: Mark, connmark: Mark): Mark {
  switch (expression.op) {
    case 'constant':
      return knownMark(expression.value);
    case 'mark':
      return mark;
    case 'connmark':
      return connmark;
    case 'unknown':
      return unknownMark(expression.text);
    case '<<':
    case '>>': {
      const left = evaluateMark(expression.left, mark, connmark);
      const bits = expression.bits & 31;
      const shift = (word: number) => (expression.op === '<<' ? word << bits : word >>> bits) >>> 0;
      const origin = left.known >>> 0 === ALL ? '' : `(${left.origin}${expression.op}${bits})`;
      return { value: shift(left.value), known: (ALL ^ shift(~left.known >>> 0)) >>> 0, origin };
    }
    default:
      return combine(expression.op, evaluateMark(expression.left, mark, connmark), evaluateMark(expression.right, mark, connmark));
  }
}

function combine(op: '&' | '|' | '^', a: Mark, b: Mark): Mark {
  let known = a.known & b.known;
  let value = op === '&' ? a.value & b.value : op === '|' ? a.value | b.value : a.value ^ b.value;
  if (op === '&') known |= (a.known & ~a.value) | (b.known & ~b.value);
  if (op === '|') known |= (a.known & a.value) | (b.known & b.value);
  value &= known;
  const unknown = ~known >>> 0;
  let origin = '';
  if (unknown !== 0) {
    const fromA = (unknown & ~a.known) >>> 0;
    const fromB = (unknown & ~b.known) >>> 0;
    const flippedA = op === '^' && (fromA & b.value) !== 0;
    const flippedB = op === '^' && (fromB & a.value) !== 0;
    if (fromB === 0 && !flippedA) origin = a.origin;
    else if (fromA === 0 && !flippedB) origin = b.origin;
    else origin = `(${a.origin}:${a.value}${op}${b.origin}:${b.value})`;
  }
  return { value: value >>> 0, known: known >>> 0, origin };
}

/** `0x539`, `0x539/0xfff`. */
export function formatMark(value: number, mask = ALL): string {
  const hex = (word: number) => `0x${(word >>> 0).toString(16)}`;
  return mask >>> 0 === ALL ? hex(value) : `${hex(value)}/${hex(mask)}`;
}

/** `1337`, `0x539`, `0x539/0xfff`; `undefined` when it is none. */
export function parseMark(text: string): { value: number; mask: number } | undefined {
  const slash = text.indexOf('/');
  const value = parseWord(slash === -1 ? text : text.slice(0, slash));
  const mask = slash === -1 ? ALL : parseWord(text.slice(slash + 1));
  return value === undefined || mask === undefined ? undefined : { value, mask };
}

/** A 32-bit number in decimal, `0x` hexadecimal or leading-zero octal. */
export function parseWord(text: string): number | undefined {
  if (!/^(?:0[xX][0-9a-fA-F]{1,16}|\d{1,20})$/.test(text)) return undefined;
  const number = /^0\d/.test(text) ? Number.parseInt(text, 8) : Number(text);
  return number <= ALL ? number : undefined;
}
