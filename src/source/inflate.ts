/**
 * DEFLATE as a pulled, synchronous stream: so much is decompressed as the reader asks for, and no more than a window of it is ever held.
 *
 * node:zlib offers either whole buffers at once or asynchronous streams, and neither suits a synchronous reader of large files.
 *
 * In      a feed that stands at the first block; bytes after the last block stay readable through {@link Inflate.takeByte}.
 * Out     decompressed bytes; `fault` says why when it ends early.
 * Source  RFC 1951.
 */
import type { ByteFeed } from './byte-feed.ts';
import { type HuffmanTable, huffmanTable } from './huffman.ts';

const WINDOW = 32_768;
const OUTPUT = 256 * 1024;
/** A match writes at most so many bytes at once. */
const LONGEST_MATCH = 258;
const INPUT = 64 * 1024;
/** Bytes that one symbol with its distance can take, and a refill of the bit buffer beyond it. */
const SYMBOL_BYTES = 16;

// RFC 1951 section 3.2.5
const LENGTH_BASE = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const LENGTH_EXTRA = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_BASE = [
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385,
  24577,
];
const DISTANCE_EXTRA = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
const lengthBase = Uint16Array.from(LENGTH_BASE);
const lengthExtra = Uint8Array.from(LENGTH_EXTRA);
const distanceBase = Uint16Array.from(DISTANCE_BASE);
const distanceExtra = Uint8Array.from(DISTANCE_EXTRA);
/** The order in which the lengths of the code length codes are sent: section 3.2.7. */
const CODE_LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

let fixedTables: { literals: HuffmanTable; distances: HuffmanTable } | undefined;

/** Section 3.2.6. */
function fixed(): { literals: HuffmanTable; distances: HuffmanTable } {
  if (fixedTables === undefined) {
    const lengths = new Uint8Array(288).fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280);
    fixedTables = { literals: huffmanTable(lengths, 288)!, distances: huffmanTable(new Uint8Array(30).fill(5), 30)! };
  }
  return fixedTables;
}

type Block = 'header' | 'stored' | 'compressed' | 'end';

export class Inflate {
  /** Why it ended early: what was wanted and what is there. */
  fault: string | undefined;
  readonly #feed: ByteFeed;
  readonly #input = new Uint8Array(INPUT + SYMBOL_BYTES);
  #inputAt = 0;
  #inputEnd = 0;
  #inputEnded = false;
  #hold = 0;
  #bits = 0;
  readonly #output = new Uint8Array(WINDOW + OUTPUT + LONGEST_MATCH);
  #outputAt = 0;
  #readAt = 0;
  #block: Block = 'header';
  #lastBlock = false;
  #storedLeft = 0;
  #literals: HuffmanTable = fixed().literals;
  #distances: HuffmanTable = fixed().distances;

  constructor(feed: ByteFeed) {
    this.#feed = feed;
  }

  /** As {@link ByteFeed.read}. */
  read(into: Uint8Array, offset: number, length: number): number {
    if (this.#readAt === this.#outputAt) this.#decode();
    const n = Math.min(length, this.#outputAt - this.#readAt);
    into.set(this.#output.subarray(this.#readAt, this.#readAt + n), offset);
    this.#readAt += n;
    return n;
  }

  /** The next whole byte behind the last block, or before the first; undefined when the feed has no more. */
  takeByte(): number | undefined {
    this.#dropBits(this.#bits);
    if (this.#inputAt === this.#inputEnd) {
      this.#topUp();
      if (this.#inputAt === this.#inputEnd) return undefined;
    }
    return this.#input[this.#inputAt++];
  }

  /** Begins another stream where the last one ended. */
  restart(): void {
    this.#block = 'header';
    this.#lastBlock = false;
    this.#outputAt = 0;
    this.#readAt = 0;
  }

  /** Decompresses until there is something to read, or nothing more to come. */
  #decode(): void {
    if (this.#outputAt >= WINDOW + OUTPUT) this.#slide();
    while (this.#outputAt < WINDOW + OUTPUT && this.#block !== 'end' && this.fault === undefined) {
      if (this.#block === 'header') this.#header();
      else if (this.#block === 'stored') this.#stored();
      else this.#compressed();
    }
  }

  #slide(): void {
    this.#output.copyWithin(0, this.#outputAt - WINDOW, this.#outputAt);
    this.#outputAt = WINDOW;
    this.#readAt = WINDOW;
  }

  /** Moves the unread input to the front and reads behind it; zeros follow the end, so that a symbol can always be looked up. */
  #topUp(): void {
    if (this.#inputEnded) return;
    const input = this.#input;
    const left = this.#inputEnd - this.#inputAt;
    input.copyWithin(0, this.#inputAt, this.#inputEnd);
    this.#inputAt = 0;
    this.#inputEnd = left;
    while (this.#inputEnd < SYMBOL_BYTES && !this.#inputEnded) {
      const n = this.#feed.read(input, this.#inputEnd, INPUT - this.#inputEnd);
      if (n === 0) this.#inputEnded = true;
      this.#inputEnd += n;
    }
    if (this.#inputEnded) input.fill(0, this.#inputEnd, this.#inputEnd + SYMBOL_BYTES);
  }

  /** Gives whole bytes of the bit buffer back to the input. */
  #giveBack(): void {
    this.#inputAt -= this.#bits >> 3;
    this.#bits &= 7;
    this.#hold &= (1 << this.#bits) - 1;
  }

  /** Were some of the zeros behind the end of the input taken for bits of it? To be asked after {@link #giveBack}. */
  #overrun(): boolean {
    return this.#inputAt > this.#inputEnd;
  }

  #dropBits(count: number): void {
    this.#hold >>>= count;
    this.#bits -= count;
  }

  /** Up to 16 bits; `undefined` at the end of the input. */
  #takeBits(count: number): number | undefined {
    while (this.#bits < count) {
      if (this.#inputAt === this.#inputEnd) {
        this.#topUp();
        if (this.#inputAt === this.#inputEnd) {
          this.#cut();
          return undefined;
        }
      }
      this.#hold |= this.#input[this.#inputAt++]! << this.#bits;
      this.#bits += 8;
    }
    const value = this.#hold & ((1 << count) - 1);
    this.#dropBits(count);
    return value;
  }

  #cut(): undefined {
    this.fault ??= this.#feed.fault ?? 'more compressed bytes are wanted, the input ends';
  }

  #header(): void {
    if (this.#lastBlock) {
      this.#block = 'end';
      return;
    }
    const bits = this.#takeBits(3);
    if (bits === undefined) return;
    this.#lastBlock = (bits & 1) === 1;
    const kind = bits >> 1;
    if (kind === 0) {
      this.#dropBits(this.#bits & 7);
      const length = this.#takeBits(16);
      const complement = this.#takeBits(16);
      if (length === undefined || complement === undefined) return;
      if ((length ^ complement) !== 0xffff)
        this.fault = `a stored block with its length and its complement is wanted, they are ${length} and ${complement}`;
      this.#storedLeft = length;
      this.#block = 'stored';
    } else if (kind === 1) {
      ({ literals: this.#literals, distances: this.#distances } = fixed());
      this.#block = 'compressed';
    } else if (kind === 2) this.#dynamicTables();
    else this.fault = 'a stored or compressed block is wanted, it is of the reserved kind 3';
  }

  #stored(): undefined {
    const output = this.#output;
    while (this.#storedLeft > 0 && this.#outputAt < WINDOW + OUTPUT) {
      if (this.#inputAt === this.#inputEnd) {
        this.#topUp();
        if (this.#inputAt === this.#inputEnd) return this.#cut();
      }
      const n = Math.min(this.#storedLeft, WINDOW + OUTPUT - this.#outputAt, this.#inputEnd - this.#inputAt);
      output.set(this.#input.subarray(this.#inputAt, this.#inputAt + n), this.#outputAt);
      this.#outputAt += n;
      this.#inputAt += n;
      this.#storedLeft -= n;
    }
    if (this.#storedLeft === 0) this.#block = 'header';
  }

  #dynamicTables(): void {
    const literalCount = this.#takeBits(5);
    const distanceCount = this.#takeBits(5);
    const codeCount = this.#takeBits(4);
    if (literalCount === undefined || distanceCount === undefined || codeCount === undefined) return;
    const codeLengths = new Uint8Array(19);
    for (let i = 0; i < codeCount + 4; i++) {
      const length = this.#takeBits(3);
      if (length === undefined) return;
      codeLengths[CODE_LENGTH_ORDER[i]!] = length;
    }
    const codes = huffmanTable(codeLengths, 19);
    const wanted = literalCount + 257 + distanceCount + 1;
    const lengths = codes === undefined ? undefined : this.#codeLengths(codes, wanted);
    if (lengths === undefined) {
      this.fault ??= 'lengths of codes are wanted, they do not fit each other';
      return;
    }
    const literals = huffmanTable(lengths.subarray(0, literalCount + 257), literalCount + 257);
    const distances = huffmanTable(lengths.subarray(literalCount + 257), distanceCount + 1);
    if (literals === undefined || distances === undefined) this.fault = 'complete codes are wanted, more codes are there than fit';
    else {
      this.#literals = literals;
      this.#distances = distances;
      this.#block = 'compressed';
    }
  }

  /** Section 3.2.7: 16 repeats the last length, 17 and 18 repeat zero. */
  #codeLengths(codes: HuffmanTable, wanted: number): Uint8Array | undefined {
    const lengths = new Uint8Array(wanted);
    let count = 0;
    while (count < wanted) {
      const symbol = this.#takeSymbol(codes);
      if (symbol === undefined) return undefined;
      if (symbol < 16) {
        lengths[count++] = symbol;
        continue;
      }
      const extra = this.#takeBits(symbol === 16 ? 2 : symbol === 17 ? 3 : 7);
      if (extra === undefined || (symbol === 16 && count === 0)) return undefined;
      const repeat = extra + (symbol === 18 ? 11 : 3);
      if (count + repeat > wanted) return undefined;
      lengths.fill(symbol === 16 ? lengths[count - 1]! : 0, count, count + repeat);
      count += repeat;
    }
    return lengths;
  }

  /** One symbol, carefully: only the tables' own codes are read so. */
  #takeSymbol(table: HuffmanTable): number | undefined {
    if (this.#inputEnd - this.#inputAt < SYMBOL_BYTES) this.#topUp();
    while (this.#bits < 16) {
      this.#hold |= this.#input[this.#inputAt++]! << this.#bits;
      this.#bits += 8;
    }
    const entry = table.entries[this.#hold & ((1 << table.bits) - 1)]!;
    this.#dropBits(entry & 15);
    this.#giveBack();
    if (this.#overrun()) this.#cut();
    return entry === 0 || this.fault !== undefined ? undefined : entry >> 4;
  }

  /** The inner loop: symbols of a compressed block until the output is full, the input wants topping up at its end, or the block ends. */
  #compressed(): void {
    const output = this.#output;
    const input = this.#input;
    const literals = this.#literals.entries;
    const literalMask = (1 << this.#literals.bits) - 1;
    const distances = this.#distances.entries;
    const distanceMask = (1 << this.#distances.bits) - 1;
    const limit = WINDOW + OUTPUT;
    let at = this.#outputAt;
    let inputAt = this.#inputAt;
    let hold = this.#hold;
    let bits = this.#bits;
    let safe = this.#inputEnd - SYMBOL_BYTES;
    let sure = at;
    let ended = false;
    while (at < limit) {
      if (inputAt > safe) {
        this.#inputAt = inputAt;
        this.#hold = hold;
        this.#bits = bits;
        this.#giveBack();
        if (this.#overrun()) break;
        this.#topUp();
        inputAt = this.#inputAt;
        hold = this.#hold;
        bits = this.#bits;
        safe = this.#inputEnd - SYMBOL_BYTES;
        sure = at;
      }
      while (bits < 24) {
        hold |= input[inputAt++]! << bits;
        bits += 8;
      }
      let entry = literals[hold & literalMask]!;
      let used = entry & 15;
      hold >>>= used;
      bits -= used;
      let symbol = entry >> 4;
      if (symbol < 256) {
        if (used === 0) {
          this.fault = 'a code of the block is wanted, the bits are none';
          break;
        }
        output[at++] = symbol;
        continue;
      }
      if (symbol === 256) {
        ended = true;
        break;
      }
      symbol -= 257;
      if (symbol >= 29) {
        this.fault = `a length symbol up to 285 is wanted, it is ${symbol + 257}`;
        break;
      }
      let extra = lengthExtra[symbol]!;
      const length = lengthBase[symbol]! + (hold & ((1 << extra) - 1));
      hold >>>= extra;
      bits -= extra;
      while (bits < 24) {
        hold |= input[inputAt++]! << bits;
        bits += 8;
      }
      entry = distances[hold & distanceMask]!;
      used = entry & 15;
      hold >>>= used;
      bits -= used;
      symbol = entry >> 4;
      if (used === 0 || symbol >= 30) {
        this.fault = 'a distance code of the block is wanted, the bits are none';
        break;
      }
      extra = distanceExtra[symbol]!;
      while (bits < extra) {
        hold |= input[inputAt++]! << bits;
        bits += 8;
      }
      const distance = distanceBase[symbol]! + (hold & ((1 << extra) - 1));
      hold >>>= extra;
      bits -= extra;
      let from = at - distance;
      if (from < 0) {
        this.fault = `a distance within the ${at} bytes before is wanted, it is ${distance}`;
        break;
      }
      for (const stop = at + length; at < stop; ) output[at++] = output[from++]!;
    }
    this.#inputAt = inputAt;
    this.#hold = hold;
    this.#bits = bits;
    this.#giveBack();
    if (this.#overrun()) {
      // what the last symbol wrote was made of bits that are not there
      this.#outputAt = sure;
      this.fault = undefined;
      this.#cut();
      return;
    }
    this.#outputAt = at;
    if (ended) this.#block = 'header';
  }
}
