/**
 * Canonical Huffman codes of DEFLATE as one lookup table: the next bits of the stream are the index, the entry is `symbol << 4 | code length`, 0 where no code begins so.
 * Source: RFC 1951 section 3.2.2.
 */
export const MAX_CODE_BITS = 15;

export interface HuffmanTable {
  readonly entries: Uint16Array;
  /** Bits of the longest code: so many index the table. */
  readonly bits: number;
}

/** The longest `symbol << 4` of DEFLATE is 287 << 4, which fits 16 bits. @returns undefined when the lengths over-subscribe the code space */
export function huffmanTable(lengths: Uint8Array, count: number): HuffmanTable | undefined {
  const perLength = new Uint16Array(MAX_CODE_BITS + 1);
  for (let i = 0; i < count; i++) perLength[lengths[i]!]!++;
  let bits = MAX_CODE_BITS;
  while (bits > 1 && perLength[bits] === 0) bits--;
  const next = new Uint16Array(MAX_CODE_BITS + 2);
  let code = 0;
  for (let length = 1; length <= MAX_CODE_BITS; length++) {
    next[length] = code;
    code += perLength[length]!;
    if (code > 1 << length) return undefined;
    code <<= 1;
  }
  const entries = new Uint16Array(1 << bits);
  for (let symbol = 0; symbol < count; symbol++) {
    const length = lengths[symbol]!;
    if (length === 0) continue;
    const step = 1 << length;
    const entry = (symbol << 4) | length;
    for (let at = reversed(next[length]!++, length); at < entries.length; at += step) entries[at] = entry;
  }
  return { entries, bits };
}

/** The code's bits in the order in which the stream brings them. */
function reversed(code: number, length: number): number {
  let result = 0;
  for (let i = 0; i < length; i++) result = (result << 1) | ((code >> i) & 1);
  return result;
}
