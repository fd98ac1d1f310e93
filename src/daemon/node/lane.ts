/** Work of which only so many may run at once: the others wait their turn, in order. */

interface Waiting<Refusal> {
  go(): void;
  fail(why: Refusal): void;
}

export class Lane<Refusal> {
  readonly #most: number;
  readonly #longestQueue: number;
  #running = 0;
  #waiting: Waiting<Refusal>[] = [];

  constructor(most: number, longestQueue: number) {
    this.#most = most;
    this.#longestQueue = longestQueue;
  }

  /** Runs `work.go` now or later, once; it holds its place until {@link leave}. False: the queue is full, and it will never run. */
  enter(work: Waiting<Refusal>): boolean {
    if (this.#running < this.#most) {
      this.#running++;
      work.go();
      return true;
    }
    if (this.#waiting.length >= this.#longestQueue) return false;
    this.#waiting.push(work);
    return true;
  }

  /** Gives the place to the next. */
  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running--;
    else next.go();
  }

  /** All that wait fail. */
  clear(why: Refusal): void {
    for (const { fail } of this.#waiting.splice(0)) fail(why);
  }
}
