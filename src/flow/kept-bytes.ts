/** Bytes of a stream that are kept until what they begin is complete: bounded, and counted against the budget of the run. */
import type { BufferBudget } from './stream.ts';

const FIRST_SIZE = 512;

export class KeptBytes {
  /** Valid up to `length`. */
  bytes: Uint8Array = NOTHING;
  length = 0;
  readonly #limit: number;
  readonly #budget: BufferBudget;

  constructor(limit: number, budget: BufferBudget) {
    this.#limit = limit;
    this.#budget = budget;
  }

  get full(): boolean {
    return this.length >= this.#limit;
  }

  /** Adds as much of `bytes[start, end)` as the limit allows; returns how much, -1 when the budget is used up. */
  add(bytes: Uint8Array, start: number, end: number): number {
    const added = Math.min(end - start, this.#limit - this.length);
    const need = this.length + added;
    if (this.bytes.length < need) {
      const size = Math.min(this.#limit, Math.max(FIRST_SIZE, need * 2));
      const more = size - this.bytes.length;
      if (more > this.#budget.left) return -1;
      this.#budget.left -= more;
      const grown = new Uint8Array(size);
      grown.set(this.bytes.subarray(0, this.length));
      this.bytes = grown;
    }
    this.bytes.set(bytes.subarray(start, start + added), this.length);
    this.length = need;
    return added;
  }

  /** Drops the first `count` bytes. */
  drop(count: number): void {
    this.bytes.copyWithin(0, count, this.length);
    this.length -= count;
  }

  /** Forgets everything and gives back what it took. */
  release(): void {
    this.#budget.left += this.bytes.length;
    this.bytes = NOTHING;
    this.length = 0;
  }
}

const NOTHING = new Uint8Array(0);
