/**
 * Where every sink writes: one file descriptor, in chunks of at least 64 KiB, synchronously, so that memory stays bounded whatever the reader does.
 *
 * A reader that goes away (`| head`) is no error: `closed` turns true, and whatever comes later is dropped in silence. Any other refusal of the system (a full disk)
 * is kept in `failure` and closes the writer too; it never throws.
 */
import { closeSync, writeSync } from 'node:fs';

const CHUNK_BYTES = 64 * 1024;
/** How long to wait when a non-blocking pipe is full (EAGAIN) before trying again. */
const RETRY_MS = 5;

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** The call that hands bytes to the system: `fs.writeSync`, or a stand-in for tests. */
export type WriteCall = (fd: number, bytes: Uint8Array, offset: number, length: number) => number;

export interface Writer {
  /** Appends text as UTF-8; lone surrogates become U+FFFD. */
  text(text: string): void;
  /** Appends bytes; they are copied or written before the call returns. */
  bytes(bytes: Uint8Array): void;
  /** Hands everything to the system now. */
  flush(): void;
  /** Flushes, and closes the descriptor when the writer owns it. Twice is fine. */
  close(): void;
  /** The reader has gone, or the system refused: nothing more is written. */
  readonly closed: boolean;
}

export class FileWriter implements Writer {
  closed = false;
  /** What the system said, other than that the reader has gone. */
  failure: NodeJS.ErrnoException | undefined;
  /** Called before bytes leave: whoever shares the terminal makes room. */
  beforeWrite: (() => void) | undefined;
  readonly #fd: number;
  readonly #owned: boolean;
  readonly #write: WriteCall;
  #pending = '';

  /** @param fd  an open descriptor; `owned` says whether `close` closes it */
  constructor(fd: number, options: { owned?: boolean; write?: WriteCall } = {}) {
    this.#fd = fd;
    this.#owned = options.owned ?? false;
    this.#write = options.write ?? writeSync;
  }

  text(text: string): void {
    if (this.closed) return;
    this.#pending += text;
    if (this.#pending.length >= CHUNK_BYTES) this.#drainText();
  }

  bytes(bytes: Uint8Array): void {
    if (this.closed) return;
    this.#drainText();
    this.#writeAll(bytes);
  }

  flush(): void {
    this.#drainText();
  }

  close(): void {
    this.#drainText();
    if (this.#owned && !this.#ended) closeSync(this.#fd);
    this.#ended = true;
    this.closed = true;
  }
  #ended = false;

  #drainText(): void {
    if (this.#pending === '' || this.closed) return;
    const bytes = Buffer.from(this.#pending, 'utf8');
    this.#pending = '';
    this.#writeAll(bytes);
  }

  #writeAll(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.closed) return;
    this.beforeWrite?.();
    let offset = 0;
    while (offset < bytes.length) {
      try {
        offset += this.#write(this.#fd, bytes, offset, bytes.length - offset);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EAGAIN') {
          Atomics.wait(sleeper, 0, 0, RETRY_MS);
          continue;
        }
        this.closed = true;
        if (code !== 'EPIPE' && code !== 'ECONNRESET') this.failure = error as NodeJS.ErrnoException;
        return;
      }
    }
  }
}

/** Keeps what is written as text, for tests and for callers that want a string. */
export class StringWriter implements Writer {
  readonly closed = false;
  readonly #chunks: Buffer[] = [];

  text(text: string): void {
    this.#chunks.push(Buffer.from(text, 'utf8'));
  }

  bytes(bytes: Uint8Array): void {
    this.#chunks.push(Buffer.from(bytes));
  }

  flush(): void {}

  close(): void {}

  get content(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  toString(): string {
    return this.content.toString('utf8');
  }
}
