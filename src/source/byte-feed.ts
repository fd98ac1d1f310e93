/**
 * Bytes in order, pulled synchronously into a buffer of the reader: a file, standard input, memory, or what a decompressor makes of another feed.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CaptureFileError, systemReason } from './capture-file-error.ts';

export interface ByteFeed {
  /** What the user called it. */
  readonly name: string;
  /** Puts at most `length` bytes at `offset` of `into`; returns how many, 0 only at the end. */
  read(into: Uint8Array, offset: number, length: number): number;
  /** Why the feed ended before its time, where it did: act, value, wish and state in one sentence. */
  readonly fault: string | undefined;
  /** Bytes taken so far of what lies beneath all packing, and how many there are, where that is known. */
  readonly taken: number;
  readonly size: number | undefined;
  close(): void;
}

const RETRY_MS = 2;

/** A file from its beginning, or standard input (`-`). A read error ends it with a fault. */
export class FileFeed implements ByteFeed {
  readonly name: string;
  readonly size: number | undefined;
  fault: string | undefined;
  taken = 0;
  #fd: number;

  /** @throws {CaptureFileError} CAPTURE_READ when it cannot be opened */
  constructor(path: string) {
    this.name = path === '-' ? 'standard input' : path;
    if (path === '-') this.#fd = 0;
    else
      try {
        this.#fd = openSync(path, 'r');
        const stats = fstatSync(this.#fd);
        this.size = stats.isFile() ? stats.size : undefined;
      } catch (cause) {
        throw new CaptureFileError(
          'CAPTURE_READ',
          `Cannot open "${path}": a readable file is wanted, the system says ${systemReason(cause)}`,
          { path, offset: 0, cause },
        );
      }
  }

  read(into: Uint8Array, offset: number, length: number): number {
    if (this.#fd === -1) return 0;
    for (;;) {
      try {
        const n = readSync(this.#fd, into, offset, length, null);
        this.taken += n;
        return n;
      } catch (error) {
        const reason = systemReason(error);
        if (reason === 'EOF') return 0;
        if (reason !== 'EAGAIN') {
          this.fault = `Cannot read "${this.name}" at byte ${this.taken}: more bytes are wanted, the system says ${reason}`;
          return 0;
        }
        // standard input may be a pipe that somebody else made non-blocking
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
      }
    }
  }

  close(): void {
    if (this.#fd > 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}

/** Bytes in memory. */
export class BytesFeed implements ByteFeed {
  readonly name: string;
  readonly fault = undefined;
  taken = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, name: string) {
    this.#bytes = bytes;
    this.name = name;
  }

  get size(): number {
    return this.#bytes.length;
  }

  read(into: Uint8Array, offset: number, length: number): number {
    const n = Math.min(length, this.#bytes.length - this.taken);
    into.set(this.#bytes.subarray(this.taken, this.taken + n), offset);
    this.taken += n;
    return n;
  }

  close(): void {
    this.taken = this.#bytes.length;
  }
}

/** A feed whose first bytes can be looked at before they are read. */
export class PeekFeed implements ByteFeed {
  readonly name: string;
  readonly #feed: ByteFeed;
  #head: Uint8Array = new Uint8Array(0);
  #position = 0;

  constructor(feed: ByteFeed) {
    this.#feed = feed;
    this.name = feed.name;
  }

  get fault(): string | undefined {
    return this.#feed.fault;
  }

  get taken(): number {
    return this.#feed.taken;
  }

  get size(): number | undefined {
    return this.#feed.size;
  }

  /** The next `length` bytes, fewer only where the feed ends first. They stay to be read. */
  peek(length: number): Uint8Array {
    const have = this.#head.length - this.#position;
    if (have < length) {
      const grown = new Uint8Array(length);
      grown.set(this.#head.subarray(this.#position));
      let end = have;
      while (end < length) {
        const n = this.#feed.read(grown, end, length - end);
        if (n === 0) break;
        end += n;
      }
      this.#head = grown.subarray(0, end);
      this.#position = 0;
    }
    return this.#head.subarray(this.#position, Math.min(this.#position + length, this.#head.length));
  }

  read(into: Uint8Array, offset: number, length: number): number {
    const have = this.#head.length - this.#position;
    if (have === 0) return this.#feed.read(into, offset, length);
    const n = Math.min(have, length);
    into.set(this.#head.subarray(this.#position, this.#position + n), offset);
    this.#position += n;
    return n;
  }

  close(): void {
    this.#feed.close();
  }
}
