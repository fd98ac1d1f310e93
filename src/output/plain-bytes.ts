/**
 * The texts that every plain flow has, as bytes: addresses and times, put together from numbers four bytes at a time, without a string in between. Each function writes at `at`, may spoil up to
 * three bytes behind what it writes, and returns the place after it.
 */
import { formatTime, type TimeBase } from '../net/time.ts';

/** Bytes of an RFC 3339 time with nanoseconds. */
export const TIME_LENGTH = 30;
/** Bytes of the longest address, and those that may be spoilt. */
export const ADDRESS_MOST = 48;

const NS = 1_000_000_000;
/** `YYYY-MM-DDThh:mm:ss.` */
const PREFIX_WORDS = 5;
const ZULU = 0x5a;
const DOT = 0x2e;
const COLON = 0x3a;

/** Text of up to four characters as a little-endian word. */
function packed(text: string): number {
  let word = 0;
  for (let i = 0; i < text.length; i++) word |= text.charCodeAt(i) << (8 * i);
  return word;
}

const THREE_DIGITS = Int32Array.from({ length: 1000 }, (_, n) => packed(String(n).padStart(3, '0')));
const OCTETS = Int32Array.from({ length: 256 }, (_, n) => packed(`${n}.`));
const HEX = Int32Array.from({ length: 16 }, (_, n) => packed(n.toString(16)));
const HEX_BYTES = Int32Array.from({ length: 256 }, (_, n) => packed(n.toString(16).padStart(2, '0')));

/** Seconds whose text is kept: flows that are written one after the other began and ended near each other. */
const KEPT = 64;

/** Times as formatTime (net/time.ts) writes them. */
export class TimeBytes {
  readonly #base: TimeBase;
  readonly #seconds: Float64Array = new Float64Array(KEPT).fill(Number.NaN);
  readonly #prefixes: Int32Array = new Int32Array(KEPT * PREFIX_WORDS);

  constructor(base: TimeBase) {
    this.#base = base;
  }

  write(view: DataView, at: number, timeNs: number): number {
    const whole = Math.round(timeNs);
    const second = Math.floor(whole / NS);
    const nanoseconds = whole - second * NS;
    const kept = second & (KEPT - 1);
    if (this.#seconds[kept] !== second) this.#keep(kept, second);
    const prefixes = this.#prefixes;
    const p = kept * PREFIX_WORDS;
    view.setInt32(at, prefixes[p]!, true);
    view.setInt32(at + 4, prefixes[p + 1]!, true);
    view.setInt32(at + 8, prefixes[p + 2]!, true);
    view.setInt32(at + 12, prefixes[p + 3]!, true);
    view.setInt32(at + 16, prefixes[p + 4]!, true);
    const thousands = (nanoseconds / 1000) | 0;
    const millions = (thousands / 1000) | 0;
    view.setInt32(at + 20, THREE_DIGITS[millions]!, true);
    view.setInt32(at + 23, THREE_DIGITS[thousands - millions * 1000]!, true);
    view.setInt32(at + 26, THREE_DIGITS[nanoseconds - thousands * 1000]!, true);
    view.setUint8(at + 29, ZULU);
    return at + TIME_LENGTH;
  }

  #keep(kept: number, second: number): void {
    const text = formatTime(this.#base, second * NS);
    this.#seconds[kept] = second;
    for (let i = 0; i < PREFIX_WORDS; i++) this.#prefixes[kept * PREFIX_WORDS + i] = packed(text.slice(i * 4, i * 4 + 4));
  }
}

/** As formatV4 (net/address.ts) writes it. */
export function writeV4(view: DataView, at: number, word: number): number {
  let next = at;
  for (let shift = 24; shift >= 0; shift -= 8) {
    const octet = (word >>> shift) & 255;
    view.setInt32(next, OCTETS[octet]!, true);
    next += octet < 10 ? 2 : octet < 100 ? 3 : 4;
  }
  return next - 1;
}

/** As formatV6 (net/address.ts) writes it: four words of `words` from `from`. */
export function writeV6(view: DataView, at: number, words: Int32Array, from: number): number {
  const a = words[from]!;
  const b = words[from + 1]!;
  const c = words[from + 2]!;
  const d = words[from + 3]!;
  if (a === 0 && b === 0 && c === 0xffff) {
    view.setInt32(at, packed('::ff'), true);
    view.setInt32(at + 4, packed('ff:'), true);
    return writeV4(view, at + 7, d);
  }
  // The longest run of zero groups, from two groups on; the first of equals.
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; ) {
    let n = 0;
    while (i + n < 8 && group(words, from, i + n) === 0) n++;
    if (n > bestLength) {
      best = i;
      bestLength = n;
    }
    i += n + 1;
  }
  let next = at;
  for (let i = 0; i < 8; ) {
    if (i === best) {
      view.setUint8(next++, COLON);
      if (i === 0) view.setUint8(next++, COLON);
      i += bestLength;
      continue;
    }
    const value = group(words, from, i);
    if (value >= 0x100) {
      if (value < 0x1000) view.setInt32(next++, HEX[value >>> 8]!, true);
      else {
        view.setInt32(next, HEX_BYTES[value >>> 8]!, true);
        next += 2;
      }
      view.setInt32(next, HEX_BYTES[value & 0xff]!, true);
      next += 2;
    } else if (value >= 0x10) {
      view.setInt32(next, HEX_BYTES[value]!, true);
      next += 2;
    } else view.setInt32(next++, HEX[value]!, true);
    i++;
    if (i < 8) view.setUint8(next++, COLON);
  }
  return next;
}

function group(words: Int32Array, from: number, i: number): number {
  const word = words[from + (i >>> 1)]!;
  return (i & 1) === 0 ? word >>> 16 : word & 0xffff;
}

/** Eight hexadecimal digits. */
export function writeHex(view: DataView, at: number, word: number): number {
  view.setInt32(at, HEX_BYTES[word >>> 24]! | (HEX_BYTES[(word >>> 16) & 255]! << 16), true);
  view.setInt32(at + 4, HEX_BYTES[(word >>> 8) & 255]! | (HEX_BYTES[word & 255]! << 16), true);
  return at + 8;
}

/** Bytes that are written again and again, as words. */
export class Chunk {
  readonly length: number;
  readonly #words: Int32Array;

  constructor(bytes: Uint8Array) {
    this.length = bytes.length;
    const padded = new Uint8Array((bytes.length + 3) & -4);
    padded.set(bytes);
    this.#words = new Int32Array(padded.buffer);
  }

  write(view: DataView, at: number): number {
    const words = this.#words;
    for (let i = 0; i < words.length; i++) view.setInt32(at + (i << 2), words[i]!, true);
    return at + this.length;
  }
}

/** A non-negative integer below 2^53 in decimal digits. */
export function writeInteger(view: DataView, at: number, value: number): number {
  if (value < 1000) return writeSmall(view, at, value | 0);
  if (value < 1_000_000_000) {
    let rest: number = value | 0;
    const low = rest % 1000;
    rest = (rest / 1000) | 0;
    let next: number;
    if (rest < 1000) next = writeSmall(view, at, rest);
    else {
      const high = (rest / 1000) | 0;
      next = writeSmall(view, at, high);
      view.setInt32(next, THREE_DIGITS[rest - high * 1000]!, true);
      next += 3;
    }
    view.setInt32(next, THREE_DIGITS[low]!, true);
    return next + 3;
  }
  const high = Math.floor(value / 1_000_000_000);
  const low = value - high * 1_000_000_000;
  const next = writeInteger(view, at, high);
  const thousands = (low / 1000) | 0;
  const millions = (thousands / 1000) | 0;
  view.setInt32(next, THREE_DIGITS[millions]!, true);
  view.setInt32(next + 3, THREE_DIGITS[thousands - millions * 1000]!, true);
  view.setInt32(next + 6, THREE_DIGITS[low - thousands * 1000]!, true);
  return next + 9;
}

/** Up to three digits. */
function writeSmall(view: DataView, at: number, value: number): number {
  const digits = THREE_DIGITS[value]!;
  if (value >= 100) {
    view.setInt32(at, digits, true);
    return at + 3;
  }
  if (value >= 10) {
    view.setInt32(at, digits >>> 8, true);
    return at + 2;
  }
  view.setUint8(at, digits >>> 16);
  return at + 1;
}

/** A time in milliseconds with at most three decimals, as JavaScript writes it. */
export function writeMilliseconds(view: DataView, at: number, ms: number): number {
  const microseconds = Math.round(ms * 1000);
  const whole = Math.floor(microseconds / 1000);
  const next = writeInteger(view, at, whole);
  const rest = microseconds - whole * 1000;
  if (rest === 0) return next;
  view.setUint8(next, DOT);
  view.setInt32(next + 1, THREE_DIGITS[rest]!, true);
  return next + (rest % 10 !== 0 ? 4 : rest % 100 !== 0 ? 3 : 2);
}
