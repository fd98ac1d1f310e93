/**
 * A map that remembers what was used recently: at least half of `most` entries, at most all. Kept in two generations, so that forgetting costs nothing: what was not used while a generation filled goes with it.
 */
export class RecentMap<K, V> {
  readonly #half: number;
  readonly #forget: ((value: V, key: K) => void) | undefined;
  #young = new Map<K, V>();
  #old = new Map<K, V>();

  /** @param forget is told of each entry that goes because there are too many */
  constructor(most: number, forget?: (value: V, key: K) => void) {
    this.#half = Math.max(1, Math.floor(most / 2));
    this.#forget = forget;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  has(key: K): boolean {
    return this.#young.has(key) || this.#old.has(key);
  }

  /** Counts as use. */
  get(key: K): V | undefined {
    const value = this.#young.get(key);
    if (value !== undefined || this.#old.size === 0) return value;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: K, value: V): void {
    this.#old.delete(key);
    this.#young.set(key, value);
    if (this.#young.size < this.#half) return;
    const gone = this.#old;
    this.#old = this.#young;
    this.#young = new Map();
    if (this.#forget !== undefined) for (const [other, what] of gone) this.#forget(what, other);
  }

  delete(key: K): boolean {
    return this.#young.delete(key) || this.#old.delete(key);
  }
}
