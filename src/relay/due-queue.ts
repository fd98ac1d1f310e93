/** Things that wait, in the order in which they are due: what is put in later is due no earlier. Constant time each, which Map and Set do not give whose first entries go one by one. */

interface Entry<T> {
  readonly item: T;
  readonly dueMs: number;
}

export class DueQueue<T> {
  #entries: Entry<T>[] = [];
  #at = 0;

  put(item: T, dueMs: number): void {
    this.#entries.push({ item, dueMs });
  }

  /** The next that is due, with the time for which it was put in: whoever was put in again since tells by it. */
  take(nowMs: number): Entry<T> | undefined {
    const entry = this.#entries[this.#at];
    if (entry === undefined || entry.dueMs > nowMs) return undefined;
    this.#at++;
    if (this.#at > 1024 && this.#at * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#at);
      this.#at = 0;
    }
    return entry;
  }
}
