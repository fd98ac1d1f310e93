/** Long work in turns: after some milliseconds everybody else gets one. */
export class Turns {
  readonly #ms: number;
  #endMs: number;

  constructor(ms = 5) {
    this.#ms = ms;
    this.#endMs = performance.now() + ms;
  }

  /** Is the turn over? Then {@link rest}. */
  get over(): boolean {
    return performance.now() >= this.#endMs;
  }

  async rest(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.#endMs = performance.now() + this.#ms;
  }
}
