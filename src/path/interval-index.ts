/** Finds the intervals of time that overlap another one, without looking at those that do not: sorted by their beginning, with the latest end of each part of the list (a tree in an array). */
export class IntervalIndex {
  /** Indices as the caller counts, by beginning. */
  readonly #order: Int32Array;
  readonly #starts: Float64Array;
  /** Leaves and inner nodes of a complete binary tree: the latest end below. */
  readonly #latest: Float64Array;
  readonly #leaves: number;

  /** @param intervals `fromNs` may be -Infinity, `toNs` Infinity; `undefined` is never found */
  constructor(intervals: readonly ({ readonly fromNs: number; readonly toNs: number } | undefined)[]) {
    const order = [...intervals.keys()]
      .filter((i) => intervals[i] !== undefined)
      .sort((a, b) => intervals[a]!.fromNs - intervals[b]!.fromNs || a - b);
    this.#order = Int32Array.from(order);
    this.#starts = Float64Array.from(order, (i) => intervals[i]!.fromNs);
    this.#leaves = 1;
    while (this.#leaves < order.length) this.#leaves *= 2;
    this.#latest = new Float64Array(2 * this.#leaves).fill(Number.NEGATIVE_INFINITY);
    order.forEach((i, at) => {
      this.#latest[this.#leaves + at] = intervals[i]!.toNs;
    });
    for (let node = this.#leaves - 1; node > 0; node--) this.#latest[node] = Math.max(this.#latest[2 * node]!, this.#latest[2 * node + 1]!);
  }

  /** The intervals that have a moment in common with [fromNs, toNs], by index. */
  overlapping(fromNs: number, toNs: number): number[] {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle]! <= toNs) low = middle + 1;
      else high = middle;
    }
    const found: number[] = [];
    if (low > 0) this.#collect(1, 0, this.#leaves, low, fromNs, found);
    return found.sort((a, b) => a - b);
  }

  /** Of the first `count` in order, those below `node` that end late enough. */
  #collect(node: number, start: number, size: number, count: number, fromNs: number, found: number[]): void {
    if (start >= count || this.#latest[node]! < fromNs) return;
    if (size === 1) {
      found.push(this.#order[start]!);
      return;
    }
    const half = size / 2;
    this.#collect(2 * node, start, half, count, fromNs, found);
    this.#collect(2 * node + 1, start + half, half, count, fromNs, found);
  }
}
