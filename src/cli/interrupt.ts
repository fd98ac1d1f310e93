/** Ctrl-C: the first asks for an orderly end, the second ends at once. */
import { INTERRUPTED } from './exit-code.ts';

export class Interrupt {
  requested = false;
  /** Settles with the first. */
  readonly asked: Promise<void>;
  #ask: () => void = () => {};
  readonly #listener = (): void => {
    if (this.requested) process.exit(INTERRUPTED);
    this.requested = true;
    this.#ask();
  };

  constructor() {
    this.asked = new Promise((resolve) => {
      this.#ask = resolve;
    });
    process.on('SIGINT', this.#listener);
    process.on('SIGTERM', this.#listener);
  }

  release(): void {
    process.off('SIGINT', this.#listener);
    process.off('SIGTERM', this.#listener);
  }
}
