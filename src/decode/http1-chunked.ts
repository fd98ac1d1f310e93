/**
 * Walks a chunked body, so that the end of it and the number of its data bytes are known without keeping any of them.
 *
 * Feed it bytes with `push`; between pushes `skippable` bytes of chunk data may be passed over with `skip` instead.
 * Source: RFC 9112 section 7.1. Line ends may be LF alone. Chunk extensions and trailers are passed over, within bounds.
 */
const MAX_SIZE_DIGITS = 12;
const MAX_LINE_LENGTH = 16_384;

type State = 'size' | 'extension' | 'data' | 'data-end' | 'trailer-start' | 'trailer' | 'done' | 'malformed';

function hexValue(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

export class ChunkedBody {
  /** Data bytes so far. */
  dataLength = 0;
  #state: State = 'size';
  #left = 0;
  #digits = 0;
  #line = 0;

  get done(): boolean {
    return this.#state === 'done';
  }

  get malformed(): boolean {
    return this.#state === 'malformed';
  }

  /** How many of the next bytes are surely chunk data. */
  get skippable(): number {
    return this.#state === 'data' ? this.#left : 0;
  }

  /** Passes over `length` bytes of chunk data, at most {@link skippable}. */
  skip(length: number): void {
    this.#left -= length;
    this.dataLength += length;
    if (this.#left === 0) this.#state = 'data-end';
  }

  /** Reads on until the body is done or malformed, or the bytes are used up. Returns the index of the first byte that was not read. */
  push(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end && this.#state !== 'done' && this.#state !== 'malformed') {
      if (this.#state === 'data') {
        const length = Math.min(this.#left, end - at);
        this.skip(length);
        at += length;
      } else this.#step(bytes[at++]!);
    }
    return at;
  }

  #step(byte: number): void {
    if (++this.#line > MAX_LINE_LENGTH) this.#state = 'malformed';
    else if (this.#state === 'size') this.#size(byte);
    else if (this.#state === 'extension') {
      if (byte === 0x0a) this.#chunk();
    } else if (this.#state === 'data-end') {
      if (byte === 0x0a) this.#next('size');
      else if (byte !== 0x0d) this.#state = 'malformed';
    } else if (this.#state === 'trailer-start') {
      if (byte === 0x0a) this.#state = 'done';
      else if (byte !== 0x0d) this.#state = 'trailer';
    } else if (byte === 0x0a) this.#state = 'trailer-start';
  }

  #size(byte: number): void {
    const digit = hexValue(byte);
    if (digit >= 0 && this.#digits < MAX_SIZE_DIGITS) {
      this.#left = this.#left * 16 + digit;
      this.#digits++;
    } else if (digit >= 0 || this.#digits === 0) this.#state = 'malformed';
    else if (byte === 0x0a) this.#chunk();
    else if (byte === 0x3b || byte === 0x0d || byte === 0x20 || byte === 0x09) this.#state = 'extension';
    else this.#state = 'malformed';
  }

  #chunk(): void {
    if (this.#left === 0) this.#next('trailer-start');
    else this.#next('data');
  }

  #next(state: State): void {
    this.#state = state;
    this.#line = 0;
    this.#digits = 0;
  }
}
