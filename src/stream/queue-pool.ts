/**
 * Room that subscribers share: who falls behind in a burst borrows from it beyond its own queue, while there is some.
 * So a moment without a processor loses nothing, and all subscribers together hold no more than their own queues and this.
 */
export class QueuePool {
  #left: number;

  /** @param bytes in all */
  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Bytes that nobody has borrowed. */
  get left(): number {
    return this.#left;
  }

  /** @returns whether there was so much: all of it, or nothing */
  borrow(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#left += bytes;
  }
}
