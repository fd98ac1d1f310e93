/** Lines of a stream of chunks, each at most so long. */
const LF = 0x0a;

export class LineSplitter {
  readonly #limit: number;
  #parts: Buffer[] = [];
  #length = 0;

  /** @param limit bytes of one line, without its end */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Hands out the lines that are whole by now, without their ends; empty ones are left out.
   *
   * @returns false when a line is longer than the limit: nothing more is to be added then
   */
  add(chunk: Buffer, onLine: (line: Buffer) => void): boolean {
    for (let from = 0; ; ) {
      const end = chunk.indexOf(LF, from);
      const part = chunk.subarray(from, end === -1 ? chunk.length : end);
      if (this.#length + part.length > this.#limit) return false;
      if (end === -1) {
        if (part.length > 0) this.#parts.push(part);
        this.#length += part.length;
        return true;
      }
      const line = this.#length === 0 ? part : Buffer.concat([...this.#parts, part]);
      this.#parts = [];
      this.#length = 0;
      if (line.length > 0) onLine(line);
      from = end + 1;
    }
  }
}
