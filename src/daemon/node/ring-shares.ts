/**
 * How much of the budget for capture rings each namespace gets. Rings are kernel memory in no control group's account, so their sum is bounded here. A new ring gets what it would have if all had
 * come at once and left half of the budget; a busy one may grow while something is left for those that come.
 */

export const LEAST_RING = 128 * 1024;
export const LARGEST_FIRST_RING = 2 * 1024 * 1024;
export const LARGEST_RING = 16 * 1024 * 1024;

export class RingShares {
  #budget: number;
  #expected = 0;
  #taken = 0;
  #rings = 0;

  /** @param budget bytes for all rings together */
  constructor(budget: number) {
    this.#budget = budget;
  }

  /** @param expected how many namespaces are known to want a ring */
  limit(budget: number, expected: number): void {
    this.#budget = budget;
    this.#expected = expected;
  }

  /** Bytes that all rings take now. */
  get taken(): number {
    return this.#taken;
  }

  /** Takes a ring for one more namespace. @returns its bytes, the least where the budget is spent (the probe then refuses it) */
  first(): number {
    let size = LARGEST_FIRST_RING;
    while (size > LEAST_RING && size * Math.max(this.#expected, this.#rings + 1) > this.#budget / 2) size /= 2;
    while (size > LEAST_RING && this.#taken + size > this.#budget) size /= 2;
    this.#take(size);
    return size;
  }

  /** Takes a ring four times as large as one that is too small, beside it. `undefined` where there is no room for it: an eighth of the budget is kept for namespaces that come. */
  larger(than: number): number | undefined {
    for (const factor of [4, 2]) {
      const size = than * factor;
      if (size > LARGEST_RING || this.#taken + size > this.#budget * (7 / 8)) continue;
      this.#take(size);
      return size;
    }
    return undefined;
  }

  release(size: number): void {
    this.#taken -= size;
    this.#rings--;
  }

  #take(size: number): void {
    this.#taken += size;
    this.#rings++;
  }
}
