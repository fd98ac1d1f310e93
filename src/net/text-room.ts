/** Room for large texts that are kept to be looked into: when it is full, those taken first are given back. */

/** Bytes. */
const MAX_LENGTH = 256 * 1024 * 1024;

export interface HeldText {
  readonly length: number;
  /** Gives its bytes back. */
  release(): void;
}

export class TextRoom {
  readonly #limit: number;
  readonly #held = new Set<HeldText>();
  #length = 0;

  /** @param limit bytes; the text that was taken last stays, however long it is */
  constructor(limit = MAX_LENGTH) {
    this.#limit = limit;
  }

  take(text: HeldText): void {
    this.#held.add(text);
    this.#length += text.length;
    for (const held of this.#held) {
      if (this.#length <= this.#limit || held === text) break;
      this.#held.delete(held);
      this.#length -= held.length;
      held.release();
    }
  }
}
