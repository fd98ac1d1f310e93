/** Those who want to be told. */
export class Listeners {
  readonly #all = new Set<() => void>();

  /** @returns takes it back */
  add(listener: () => void): () => void {
    const own = () => listener();
    this.#all.add(own);
    return () => this.#all.delete(own);
  }

  tell(): void {
    for (const listener of [...this.#all]) listener();
  }
}
