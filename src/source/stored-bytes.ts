/**
 * Bytes that can be read at any place: a regular file, or what a feed brought, kept in memory while it is small and in a temporary file beyond that.
 */
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ByteFeed } from './byte-feed.ts';
import { CaptureFileError, systemReason } from './capture-file-error.ts';

export interface StoredBytes {
  readonly name: string;
  readonly length: number;
  /** Puts at most `length` bytes from `position` at `offset` of `into`; returns how many, 0 at and behind the end. */
  readAt(position: number, into: Uint8Array, offset: number, length: number): number;
  /** Why bytes are missing at the end, where they are. */
  readonly fault: string | undefined;
  close(): void;
}

/** A regular file. */
export class FileBytes implements StoredBytes {
  readonly name: string;
  readonly length: number;
  fault: string | undefined;
  #fd: number;

  /** @throws {CaptureFileError} CAPTURE_READ when it cannot be opened */
  constructor(path: string) {
    this.name = path;
    try {
      this.#fd = openSync(path, 'r');
      this.length = fstatSync(this.#fd).size;
    } catch (cause) {
      const message = `Cannot open "${path}": a readable file is wanted, the system says ${systemReason(cause)}`;
      throw new CaptureFileError('CAPTURE_READ', message, { path, offset: 0, cause });
    }
  }

  readAt(position: number, into: Uint8Array, offset: number, length: number): number {
    if (this.#fd === -1) return 0;
    try {
      return readSync(this.#fd, into, offset, length, position);
    } catch (error) {
      this.fault = `Cannot read "${this.name}" at byte ${position}: ${length} bytes are wanted, the system says ${systemReason(error)}`;
      return 0;
    }
  }

  close(): void {
    if (this.#fd !== -1) closeSync(this.#fd);
    this.#fd = -1;
  }
}

const CHUNK = 1024 * 1024;

export interface SpoolLimits {
  /** Up to so many bytes stay in memory. */
  readonly memory: number;
  /** More than so many bytes are not taken. */
  readonly total: number;
}

/** Beyond the first, what is packed may not unpack to more than the second times its length: no disk is filled by a few kilobytes. */
const UNPACKED_FREELY = 256 * CHUNK;
const LARGEST_RATIO = 256;

const defaultLimits: SpoolLimits = { memory: 16 * CHUNK, total: 32 * 1024 * CHUNK };

/** All that a feed brings. The temporary file has no name any more once it is open, so that it vanishes with the process. */
export class SpooledBytes implements StoredBytes {
  readonly name: string;
  length = 0;
  fault: string | undefined;
  readonly #chunks: Uint8Array[] = [];
  #fd = -1;

  /** Reads the feed to its end and closes it. @throws {CaptureFileError} CAPTURE_READ when the temporary file cannot be written */
  constructor(feed: ByteFeed, limits: SpoolLimits = defaultLimits) {
    this.name = feed.name;
    try {
      this.#fill(feed, limits);
    } catch (error) {
      this.close();
      throw error;
    } finally {
      feed.close();
    }
  }

  readAt(position: number, into: Uint8Array, offset: number, length: number): number {
    const wanted = Math.min(length, this.length - position);
    if (wanted <= 0) return 0;
    if (this.#fd !== -1) {
      try {
        return readSync(this.#fd, into, offset, wanted, position);
      } catch (error) {
        this.fault = `Cannot read what was kept of "${this.name}" at byte ${position}: ${wanted} bytes are wanted, the system says ${systemReason(error)}`;
        return 0;
      }
    }
    const within = position % CHUNK;
    const n = Math.min(wanted, CHUNK - within);
    const chunk = this.#chunks[(position - within) / CHUNK];
    if (chunk === undefined) return 0;
    into.set(chunk.subarray(within, within + n), offset);
    return n;
  }

  close(): void {
    if (this.#fd !== -1) closeSync(this.#fd);
    this.#fd = -1;
    this.#chunks.length = 0;
    this.length = 0;
  }

  #fill(feed: ByteFeed, limits: SpoolLimits): void {
    let chunk = new Uint8Array(CHUNK);
    let filled = 0;
    for (;;) {
      const n = feed.read(chunk, filled, CHUNK - filled);
      filled += n;
      this.length += n;
      const most = Math.min(limits.total, Math.max(UNPACKED_FREELY, feed.taken * LARGEST_RATIO));
      if (this.length > most) {
        this.fault = `Cannot keep all of "${this.name}": at most ${most} bytes are wanted of ${feed.taken}, there are more`;
        filled -= this.length - most;
        this.length = most;
      }
      const ended = n === 0 || this.fault !== undefined;
      if (filled === CHUNK || ended) {
        if (this.#fd === -1 && this.length > limits.memory) this.#moveToFile();
        if (this.#fd !== -1) this.#write(chunk, filled);
        else {
          this.#chunks.push(chunk);
          if (!ended) chunk = new Uint8Array(CHUNK);
        }
        filled = 0;
      }
      if (ended) break;
    }
    this.fault ??= feed.fault;
  }

  #moveToFile(): void {
    try {
      const folder = mkdtempSync(join(tmpdir(), 'sidetrace-'));
      try {
        this.#fd = openSync(join(folder, 'spool'), 'wx+', 0o600);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    } catch (cause) {
      throw this.#writeError(cause);
    }
    for (const chunk of this.#chunks) this.#write(chunk, chunk.length);
    this.#chunks.length = 0;
  }

  #write(bytes: Uint8Array, length: number): void {
    try {
      for (let at = 0; at < length; ) at += writeSync(this.#fd, bytes, at, length - at, null);
    } catch (cause) {
      throw this.#writeError(cause);
    }
  }

  #writeError(cause: unknown): CaptureFileError {
    const message = `Cannot keep "${this.name}" in "${tmpdir()}": room for its bytes is wanted, the system says ${systemReason(cause)}`;
    return new CaptureFileError('CAPTURE_READ', message, { path: this.name, offset: this.length, cause });
  }
}

/** A part of stored bytes, from its beginning. Closing it leaves the stored bytes open. */
export class RangeFeed implements ByteFeed {
  readonly name: string;
  readonly #stored: StoredBytes;
  readonly #start: number;
  #position: number;
  readonly #end: number;

  constructor(stored: StoredBytes, name: string, start: number, length: number) {
    this.#stored = stored;
    this.name = name;
    this.#start = start;
    this.#position = start;
    this.#end = start + length;
  }

  /** A range that reaches behind what is stored is cut. */
  get fault(): string | undefined {
    if (this.#position >= this.#end || this.#position < this.#stored.length) return undefined;
    return (
      this.#stored.fault ??
      `Cannot read all of "${this.name}": ${this.#end - this.#position} more bytes are wanted, "${this.#stored.name}" ends`
    );
  }

  get taken(): number {
    return this.#position - this.#start;
  }

  get size(): number {
    return this.#end - this.#start;
  }

  read(into: Uint8Array, offset: number, length: number): number {
    const n = this.#stored.readAt(this.#position, into, offset, Math.min(length, this.#end - this.#position));
    this.#position += n;
    return n;
  }

  close(): void {
    this.#position = this.#end;
  }
}
