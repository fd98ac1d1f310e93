/**
 * How much of the budget for capture rings each namespace gets. Rings are kernel memory in no control group's account, so their sum is bounded here. Those that are known from the start share half of
 * it, those that come share a quarter; a busy one may grow while something is left, and where little is left idle ones become smaller.
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
    const known = this.#rings < this.#expected;
    while (size > LEAST_RING && size * (known ? this.#expected : this.#rings + 1) > this.#budget / (known ? 2 : 4)) size /= 2;
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

  /** Takes a ring a quarter as large as one that is hardly used, beside it, where little of the budget is left. */
  smaller(than: number): number | undefined {
    const size = Math.max(than / 4, LEAST_RING);
    if (size >= than || this.#taken < this.#budget * (3 / 4) || this.#taken + size > this.#budget) return undefined;
    this.#take(size);
    return size;
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
