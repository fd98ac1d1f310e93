/**
 * JSON as bytes, of which nothing is built but what is asked for: the whole is checked once, then objects and lists are found by where they begin.
 *
 * In      UTF-8 bytes, with or without a byte order mark.
 * Out     offsets of members and items; {@link JsonText.build} makes one value. Of a name that comes twice the last counts, as with JSON.parse.
 * Memory  the bytes stay; those that can be read again are given back when a {@link TextRoom} is full.
 * Bounds  length, depth, values of what is built at once, and the number of such units: a hostile text of a few bytes a value never becomes gigabytes of objects.
 * Source  RFC 8259.
 */
import type { TextRoom } from './text-room.ts';

/** The text is no JSON, or larger than can be read. */
export class JsonTextError extends SyntaxError {
  override readonly name = 'JsonTextError';
  /** What is wrong, without what it is wrong with. */
  readonly state: string;

  constructor(what: string, state: string) {
    super(`Cannot read ${what}: ${state}`);
    this.state = state;
  }
}

/** Bytes that can be read again. */
export interface TextSource {
  /** The same bytes each time. */
  read(): Uint8Array;
  readonly room: TextRoom;
}

export interface JsonTextOptions {
  /** How people name it: "an Envoy config_dump". */
  readonly what: string;
  /** Objects and lists at this depth (the outermost has 1) and deeper may be built, those above never. */
  readonly unitDepth: number;
  /** The bytes are one value of a text that was checked, without space around it: they are not checked again. */
  readonly checked?: true;
}

const MEBIBYTE = 1024 * 1024;
/** Bytes; Envoys of very large meshes print some tens of MiB. */
const MAX_LENGTH = 240 * MEBIBYTE;
const MAX_DEPTH = 200;
/** Of one unit: values in it, and bytes. */
const MAX_UNIT_VALUES = 1_000_000;
const MAX_UNIT_LENGTH = 32 * MEBIBYTE;
const MAX_UNITS = 250_000;
/** No name that anybody asks for is longer, and no object has more members that mean something. */
const MAX_NAME_LENGTH = 4096;
const MAX_MEMBERS = 10_000;
/** Where objects and lists of at least this length end is remembered, at this depth and above, so that they are not walked through again. */
const REMEMBERED_LENGTH = 2048;
const REMEMBERED_DEPTH = 7;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

const words: { readonly [first: number]: readonly number[] } = Object.fromEntries(
  ['true', 'false', 'null'].map((word) => [word.charCodeAt(0), [...word].map((letter) => letter.charCodeAt(0))]),
);

const nothing = new Uint8Array(0);

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Of containers that are open, by depth: where they began, whether they are objects, and the count of values then. One walk is over before another begins. */
const starts = new Float64Array(MAX_DEPTH + 1);
const objects = new Uint8Array(MAX_DEPTH + 1);
const before = new Float64Array(MAX_DEPTH + 1);

export class JsonText {
  readonly what: string;
  /** Given back when there is no room, and read again when they are needed again. */
  #bytes: Uint8Array;
  #isHere = true;
  readonly #source: TextSource | undefined;
  readonly #unitDepth: number;
  /** Absent as long as nothing is remembered: there may be very many small texts. */
  #ends: Map<number, number> | undefined;
  #values: Map<number, number> | undefined;
  #units = 0;
  #count = 0;
  /** Where the outermost value begins. */
  readonly start: number;
  /** Bytes. */
  readonly length: number;

  /** @throws {JsonTextError} when it is no JSON (with the offset), or larger than can be read */
  constructor(from: Uint8Array | TextSource, { what, unitDepth, checked }: JsonTextOptions) {
    this.what = what;
    this.#source = from instanceof Uint8Array ? undefined : from;
    const bytes = from instanceof Uint8Array ? from : from.read();
    this.#bytes = bytes;
    this.length = bytes.length;
    this.#unitDepth = unitDepth;
    if (bytes.length > MAX_LENGTH)
      throw new JsonTextError(what, `at most ${MAX_LENGTH / MEBIBYTE} MiB are read, it has ${Math.round(bytes.length / MEBIBYTE)}`);
    if (checked === true) {
      this.start = 0;
      return;
    }
    this.start = this.#space(bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0);
    const end = this.#space(this.#walk(this.start, true));
    if (end < bytes.length) throw this.#fault(end, 'nothing more is wanted');
    this.#source?.room.take(this);
  }

  /** Gives the bytes back until they are needed again. */
  release(): void {
    this.#bytes = nothing;
    this.#isHere = false;
  }

  #need(): void {
    if (this.#isHere) return;
    const bytes = this.#source!.read();
    if (bytes.length !== this.length)
      throw new JsonTextError(this.what, `the ${this.length} bytes that were there before are wanted, ${bytes.length} are there now`);
    this.#bytes = bytes;
    this.#isHere = true;
    this.#source!.room.take(this);
  }

  /** Do these bytes stand anywhere in it? Names are mostly written without escapes, and one that is not is not found. */
  mentions(word: string): boolean {
    this.#need();
    const { buffer, byteOffset, byteLength } = this.#bytes;
    return Buffer.from(buffer, byteOffset, byteLength).includes(word);
  }

  /** What kind of value begins there. */
  kind(at: number): 'object' | 'list' | 'string' | 'number' | 'boolean' | 'null' {
    this.#need();
    switch (this.#bytes[at]) {
      case OPEN_OBJECT:
        return 'object';
      case OPEN_LIST:
        return 'list';
      case QUOTE:
        return 'string';
      case 0x6e:
        return 'null';
      case 0x74:
      case 0x66:
        return 'boolean';
      default:
        return 'number';
    }
  }

  /** Where the values of an object's members begin, by name. @param at where it begins */
  members(at: number): Map<string, number> {
    const found = new Map<string, number>();
    this.#need();
    if (this.#bytes[at] !== OPEN_OBJECT) return found;
    for (let i = this.#space(at + 1); this.#bytes[i] === QUOTE; ) {
      const colon = this.#string(i);
      const value = this.#space(this.#space(colon) + 1);
      if (found.size < MAX_MEMBERS && colon - i <= MAX_NAME_LENGTH) found.set(this.#textBetween(i, colon), value);
      i = this.#space(this.end(value));
      if (this.#bytes[i] !== COMMA) break;
      i = this.#space(i + 1);
    }
    return found;
  }

  /** Where the items of a list begin. @param at where it begins */
  *items(at: number): Generator<number> {
    this.#need();
    if (this.#bytes[at] !== OPEN_LIST) return;
    for (let i = this.#space(at + 1); this.#bytes[i] !== CLOSE_LIST; ) {
      yield i;
      this.#need();
      i = this.#space(this.end(i));
      if (this.#bytes[i] !== COMMA) break;
      i = this.#space(i + 1);
    }
  }

  /** Where the value that begins there ends. */
  end(at: number): number {
    const known = this.#ends?.get(at);
    if (known !== undefined) return known;
    this.#need();
    return this.#walk(at, false);
  }

  /** How many values are in the value that begins there. */
  values(at: number): number {
    const known = this.#values?.get(at);
    if (known !== undefined) return known;
    this.#need();
    this.#count = 0;
    this.#walk(at, false);
    return this.#count + 1;
  }

  /** The value that begins there. */
  build(at: number): unknown {
    this.#need();
    return JSON.parse(decoder.decode(this.#bytes.subarray(at, this.end(at))));
  }

  /** The bytes of the value that begins there. */
  bytes(at: number): Uint8Array {
    this.#need();
    return this.#bytes.subarray(at, this.end(at));
  }

  /** @throws {JsonTextError} when the value that begins there is larger than what is built at once */
  checkUnit(at: number): void {
    this.#checkUnit(at, this.end(at), this.values(at));
  }

  #checkUnit(start: number, end: number, values: number): void {
    if (values > MAX_UNIT_VALUES)
      throw new JsonTextError(
        this.what,
        `at most ${MAX_UNIT_VALUES} values of one resource are read, the one at byte ${start} holds ${values}`,
      );
    if (end - start > MAX_UNIT_LENGTH)
      throw new JsonTextError(
        this.what,
        `at most ${MAX_UNIT_LENGTH / MEBIBYTE} MiB of one resource are read, the one at byte ${start} has ${Math.round((end - start) / MEBIBYTE)}`,
      );
  }

  #textBetween(from: number, to: number): string {
    const bytes = this.#bytes;
    let text = '';
    if (to - from > 64) return JSON.parse(decoder.decode(bytes.subarray(from, to))) as string;
    for (let i = from + 1; i < to - 1; i++) {
      const c = bytes[i]!;
      if (c === BACKSLASH || c > 0x7e) return JSON.parse(decoder.decode(bytes.subarray(from, to))) as string;
      text += String.fromCharCode(c);
    }
    return text;
  }

  #space(at: number): number {
    const bytes = this.#bytes;
    let i = at;
    for (let c = bytes[i]; c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09; c = bytes[i]) i++;
    return i;
  }

  /** Behind the string that begins there. */
  #string(at: number): number {
    const bytes = this.#bytes;
    const { length } = bytes;
    let i = at + 1;
    for (; i < length; i++) {
      const c = bytes[i]!;
      if (c === QUOTE) return i + 1;
      if (c === BACKSLASH) i = this.#escape(i + 1);
      else if (c < 0x20) throw this.#fault(i, 'a character of a string is wanted');
    }
    throw this.#fault(length, `the end of the string at byte ${at} is wanted`);
  }

  /** The last byte of an escape sequence. */
  #escape(at: number): number {
    const bytes = this.#bytes;
    const c = bytes[at];
    if (c !== 0x75) {
      if (c === undefined || !'"\\/bfnrt'.includes(String.fromCharCode(c))) throw this.#fault(at, 'an escape sequence is wanted');
      return at;
    }
    for (let i = at + 1; i <= at + 4; i++) {
      const digit = bytes[i] ?? 0;
      const isHex = (digit >= 0x30 && digit <= 0x39) || ((digit | 0x20) >= 0x61 && (digit | 0x20) <= 0x66);
      if (!isHex) throw this.#fault(i, 'a hexadecimal digit is wanted');
    }
    return at + 4;
  }

  #digits(at: number): number {
    const bytes = this.#bytes;
    let i = at;
    for (let c = bytes[i]!; c >= 0x30 && c <= 0x39; c = bytes[i]!) i++;
    if (i === at) throw this.#fault(at, 'a digit is wanted');
    return i;
  }

  #number(at: number): number {
    const bytes = this.#bytes;
    let i = bytes[at] === 0x2d ? at + 1 : at;
    i = bytes[i] === 0x30 ? i + 1 : this.#digits(i);
    if (bytes[i] === 0x2e) i = this.#digits(i + 1);
    if (((bytes[i] ?? 0) | 0x20) === 0x65) {
      i++;
      if (bytes[i] === 0x2b || bytes[i] === 0x2d) i++;
      i = this.#digits(i);
    }
    return i;
  }

  #word(at: number, word: readonly number[]): number {
    for (let i = 0; i < word.length; i++) if (this.#bytes[at + i] !== word[i]) throw this.#fault(at, 'a value is wanted');
    return at + word.length;
  }

  /**
   * Behind the value that begins there. Everything in it is checked.
   *
   * @param first from the outermost value, for the first time: bounds are looked at, and the ends of what is large are remembered
   */
  #walk(from: number, first: boolean): number {
    const bytes = this.#bytes;
    let depth = 0;
    let i = from;
    for (;;) {
      const c = bytes[i];
      if (c === QUOTE) i = this.#string(i);
      else if (c === OPEN_OBJECT || c === OPEN_LIST) {
        depth++;
        if (first) this.#open(i, depth);
        starts[depth] = i;
        objects[depth] = c === OPEN_OBJECT ? 1 : 0;
        before[depth] = this.#count;
        i = this.#space(i + 1);
        if (c === OPEN_OBJECT) {
          if (bytes[i] === QUOTE) {
            i = this.#value(i);
            continue;
          }
          if (bytes[i] !== CLOSE_OBJECT) throw this.#fault(i, 'a name in quotes or "}" is wanted');
        } else if (bytes[i] !== CLOSE_LIST) {
          this.#count++;
          continue;
        }
      } else if (c === 0x2d || (c! >= 0x30 && c! <= 0x39)) i = this.#number(i);
      else {
        const word = c === undefined ? undefined : words[c];
        if (word === undefined) throw this.#fault(i, 'a value is wanted');
        i = this.#word(i, word);
      }
      for (;;) {
        if (depth === 0) return i;
        const isObject = objects[depth] === 1;
        i = this.#space(i);
        const next = bytes[i];
        if (next === COMMA) {
          i = this.#space(i + 1);
          if (!isObject) this.#count++;
          else if (bytes[i] === QUOTE) i = this.#value(i);
          else throw this.#fault(i, 'a name in quotes is wanted');
          break;
        }
        if (next !== (isObject ? CLOSE_OBJECT : CLOSE_LIST)) throw this.#fault(i, `"," or "${isObject ? '}' : ']'}" is wanted`);
        i++;
        if (first) this.#close(depth, i);
        depth--;
      }
    }
  }

  /** Where the value of the member begins whose name begins there. */
  #value(at: number): number {
    const colon = this.#space(this.#string(at));
    if (this.#bytes[colon] !== COLON) throw this.#fault(colon, '":" is wanted');
    this.#count++;
    return this.#space(colon + 1);
  }

  #open(at: number, depth: number): void {
    if (depth > MAX_DEPTH) throw new JsonTextError(this.what, `at most ${MAX_DEPTH} levels are read, byte ${at} is deeper`);
    if (depth === this.#unitDepth && ++this.#units > MAX_UNITS)
      throw new JsonTextError(this.what, `at most ${MAX_UNITS} resources are read, it holds more`);
  }

  #close(depth: number, end: number): void {
    const start = starts[depth]!;
    const values = this.#count - before[depth]! + 1;
    if (depth >= this.#unitDepth) this.#checkUnit(start, end, values);
    if (depth > REMEMBERED_DEPTH || end - start < REMEMBERED_LENGTH) return;
    this.#ends ??= new Map();
    this.#values ??= new Map();
    this.#ends.set(start, end);
    this.#values.set(start, values);
  }

  #fault(at: number, wish: string): JsonTextError {
    const rest = this.#bytes.subarray(at, at + 20);
    const state = rest.length === 0 ? 'it ends there' : `${JSON.stringify(decoder.decode(rest))} is there`;
    return new JsonTextError(this.what, `JSON is wanted, at byte ${at} ${wish}, ${state}`);
  }
}
