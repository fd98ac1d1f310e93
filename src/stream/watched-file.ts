/** A small file that may change under us (a mounted secret, a token, a certificate): read again when it is asked for and some time has passed. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';

/** Token and certificate files are far smaller. */
const BYTES_MAX = 1024 * 1024;

export class WatchedFile {
  readonly path: string;
  readonly #everyMs: number;
  #readAt = Number.NEGATIVE_INFINITY;
  #digest = '';
  #bytes: Buffer = Buffer.alloc(0);
  /** Why the last reading failed; what was read before still holds. */
  problem: string | undefined;

  /** @throws {Error} when it cannot be read now */
  constructor(path: string, everyMs: number) {
    this.path = path;
    this.#everyMs = everyMs;
    this.#read();
    if (this.problem !== undefined) throw new Error(this.problem);
  }

  get bytes(): Buffer {
    return this.#bytes;
  }

  /** Reads it again if it is time. @returns whether it has changed */
  refresh(): boolean {
    return performance.now() - this.#readAt >= this.#everyMs ? this.#read() : false;
  }

  #read(): boolean {
    this.#readAt = performance.now();
    try {
      const bytes = readBounded(this.path);
      const digest = createHash('sha256').update(bytes).digest('base64');
      this.problem = undefined;
      if (digest === this.#digest) return false;
      this.#bytes = bytes;
      this.#digest = digest;
      return true;
    } catch (error) {
      this.problem = `Cannot read "${this.path}": ${(error as Error).message}`;
      return false;
    }
  }
}

function readBounded(path: string): Buffer {
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(BYTES_MAX + 1);
    let length = 0;
    for (;;) {
      const read = readSync(fd, bytes, length, bytes.length - length, null);
      if (read === 0) return Buffer.from(bytes.subarray(0, length));
      length += read;
      if (length > BYTES_MAX) throw new RangeError(`at most ${BYTES_MAX} bytes are read, it has more`);
    }
  } finally {
    closeSync(fd);
  }
}
