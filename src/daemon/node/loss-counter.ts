/** Losses of one source in one scope, told at most once a second: the count of each telling is what was lost since the one before. */

const EVERY_MS = 1000;

export class LossCounter {
  readonly #tell: (count: number, exact: boolean) => void;
  #count = 0;
  #exact = true;
  #timer: NodeJS.Timeout | undefined;
  #lastMs = Number.NEGATIVE_INFINITY;
  /** All that was lost so far. */
  total = 0;

  constructor(tell: (count: number, exact: boolean) => void) {
    this.#tell = tell;
  }

  /** The first of a second is told at once. */
  add(count: number, exact = true): void {
    if (count <= 0) return;
    this.total += count;
    this.#count += count;
    this.#exact &&= exact;
    if (this.#timer !== undefined) return;
    const pause = this.#lastMs + EVERY_MS - performance.now();
    if (pause <= 0) this.flush();
    else this.#timer = setTimeout(() => this.flush(), pause);
  }

  /** Tells what was not told yet. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#count === 0) return;
    const [count, exact] = [this.#count, this.#exact];
    this.#count = 0;
    this.#exact = true;
    this.#lastMs = performance.now();
    this.#tell(count, exact);
  }
}
