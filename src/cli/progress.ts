/** A progress bar on a terminal's standard error when something takes more than a second; nothing on a pipe. */
import type { SingleBar } from 'cli-progress';

const PATIENCE_MS = 1000;
const MEGABYTE = 1e6;

export class Progress {
  readonly #begun = Date.now();
  readonly #enabled: boolean;
  #bar: SingleBar | undefined;
  #loading = false;
  #ended = false;

  constructor(enabled: boolean = process.stderr.isTTY === true) {
    this.#enabled = enabled;
  }

  /** @param bytesTotal 0 when nobody knows */
  update(bytesRead: number, bytesTotal: number): void {
    if (!this.#enabled || bytesTotal <= 0) return;
    if (this.#bar !== undefined)
      this.#bar.update(Math.min(bytesRead, bytesTotal), { read: (Math.min(bytesRead, bytesTotal) / MEGABYTE).toFixed(0) });
    else if (!this.#loading && Date.now() - this.#begun > PATIENCE_MS) {
      this.#loading = true;
      void this.#show(bytesRead, bytesTotal);
    }
  }

  async #show(bytesRead: number, bytesTotal: number): Promise<void> {
    const { default: progress } = await import('cli-progress');
    if (this.#ended) return;
    this.#bar = new progress.SingleBar(
      {
        format: '{bar} {percentage}%  {read} of {size} MB  {eta_formatted} left',
        clearOnComplete: true,
        hideCursor: true,
        stream: process.stderr,
      },
      progress.Presets.shades_classic,
    );
    this.#bar.start(bytesTotal, bytesRead, { read: (bytesRead / MEGABYTE).toFixed(0), size: (bytesTotal / MEGABYTE).toFixed(0) });
  }

  /** Takes the bar away, so that what is written to the same terminal stands alone. It comes back with the next update. */
  clear(): void {
    if (this.#bar !== undefined) process.stderr.write('\r\u001b[K');
  }

  end(): void {
    this.#ended = true;
    this.#bar?.stop();
    this.#bar = undefined;
  }
}
