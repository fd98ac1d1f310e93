/**
 * How many connections to Envoys a node has open at once. Those that failed last time get only a few of them: whoever lets us wait keeps nobody waiting but his like.
 */
export class AdminSlots {
  readonly #all: number;
  readonly #forSuspects: number;
  #taken = 0;
  #suspects = 0;
  readonly #waiting: { readonly suspect: boolean; readonly go: () => void }[] = [];

  constructor(all = 8, forSuspects = 2) {
    this.#all = all;
    this.#forSuspects = forSuspects;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Waits for its turn. @returns gives it back, once */
  async take(suspect: boolean, signal: AbortSignal): Promise<() => void> {
    if (this.#free(suspect)) this.#count(suspect, 1);
    else await this.#wait(suspect, signal);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#count(suspect, -1);
      this.#next();
    };
  }

  #wait(suspect: boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const entry = { suspect, go: resolve };
      this.#waiting.push(entry);
      signal.addEventListener(
        'abort',
        () => {
          const at = this.#waiting.indexOf(entry);
          if (at === -1) return;
          this.#waiting.splice(at, 1);
          reject(signal.reason);
        },
        { once: true },
      );
    });
  }

  #free(suspect: boolean): boolean {
    return this.#taken < this.#all && (!suspect || this.#suspects < this.#forSuspects);
  }

  #count(suspect: boolean, by: 1 | -1): void {
    this.#taken += by;
    if (suspect) this.#suspects += by;
  }

  #next(): void {
    for (;;) {
      const at = this.#waiting.findIndex(({ suspect }) => this.#free(suspect));
      if (at === -1) return;
      const [entry] = this.#waiting.splice(at, 1);
      this.#count(entry!.suspect, 1);
      entry!.go();
    }
  }
}

/** Those of this process. */
export const nodeSlots = new AdminSlots();

/** The long answer of this process: one is read at a time. */
export const nodeLongAnswer = new AdminSlots(1, 1);
