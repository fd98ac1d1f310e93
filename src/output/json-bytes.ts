/**
 * Writes JSON text into one growing buffer, byte by byte: for short ASCII text that beats joining strings and encoding them afterwards.
 * Text that needs an escape, or is long, goes through escape.ts.
 */
import { formatJson, quoteJson } from './escape.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const ZERO = 0x30;
/** Text up to this many characters is copied character by character. */
const SHORT_TEXT = 96;

export class JsonBytes {
  /** Buffers of their own, from byte 0 on: a view of the same place has the same offsets. */
  #bytes: Buffer;
  #view: DataView;
  position = 0;

  constructor(capacityBytes: number = 128 * 1024) {
    this.#bytes = Buffer.allocUnsafeSlow(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** What was written since the start; valid until the next write. */
  view(from = 0): Buffer {
    return this.#bytes.subarray(from, this.position);
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

  /** ASCII text as it is: keys and punctuation of our own. */
  raw(ascii: string): void {
    const { length } = ascii;
    this.#room(length);
    const bytes = this.#bytes;
    const at = this.position;
    for (let i = 0; i < length; i++) bytes[at + i] = ascii.charCodeAt(i);
    this.position = at + length;
  }

  /** JSON text that was put together elsewhere. */
  encoded(text: Uint8Array): void {
    this.#room(text.length);
    this.#bytes.set(text, this.position);
    this.position += text.length;
  }

  /** A JSON string with its quotes. */
  quoted(text: string): void {
    const { length } = text;
    if (length <= SHORT_TEXT) {
      this.#room(length + 2);
      const bytes = this.#bytes;
      const at = this.position + 1;
      let i = 0;
      for (; i < length; i++) {
        const code = text.charCodeAt(i);
        if (code < 0x20 || code > 0x7e || code === QUOTE || code === BACKSLASH) break;
        bytes[at + i] = code;
      }
      if (i === length) {
        bytes[at - 1] = QUOTE;
        bytes[at + length] = QUOTE;
        this.position = at + length + 1;
        return;
      }
    }
    this.#utf8(quoteJson(text));
  }

  number(value: number): void {
    if (value >>> 0 !== value || Object.is(value, -0)) {
      this.raw(Number.isFinite(value) ? `${value}` : 'null');
      return;
    }
    if (value < 10) {
      this.#byte(ZERO + value);
      return;
    }
    this.#room(10);
    const bytes = this.#bytes;
    let rest: number = value;
    let low = 0;
    let digits = 0;
    if (rest >= 1e9) {
      // Two halves of small integers: the division below stays one of 32 bits.
      low = rest % 1e5;
      rest = (rest - low) / 1e5;
      digits = 5;
    }
    rest = rest | 0;
    const length =
      digits +
      (rest < 1e5
        ? rest < 100
          ? rest < 10
            ? 1
            : 2
          : rest < 1e3
            ? 3
            : rest < 1e4
              ? 4
              : 5
        : rest < 1e7
          ? rest < 1e6
            ? 6
            : 7
          : rest < 1e8
            ? 8
            : 9);
    let at = this.position + length - 1;
    for (; digits > 0; digits--) {
      const next = (low / 10) | 0;
      bytes[at--] = ZERO + low - next * 10;
      low = next;
    }
    for (; at >= this.position; at--) {
      const next = (rest / 10) | 0;
      bytes[at] = ZERO + rest - next * 10;
      rest = next;
    }
    this.position += length;
  }

  /** An array of strings. */
  list(texts: readonly string[]): void {
    this.raw('[');
    for (let i = 0; i < texts.length; i++) {
      if (i > 0) this.#byte(COMMA);
      this.quoted(texts[i]!);
    }
    this.raw(']');
  }

  /** Any JSON value. */
  value(value: unknown): void {
    this.#utf8(formatJson(value));
  }

  #byte(byte: number): void {
    this.#room(1);
    this.#bytes[this.position++] = byte;
  }

  #utf8(text: string): void {
    this.#room(text.length * 3);
    this.position += this.#bytes.write(text, this.position, 'utf8');
  }
}
