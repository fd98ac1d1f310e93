/** The batches of the recent past, bounded in bytes and in number: what `last`, `since` and resuming are served from. */
import type { Batch } from './batch.ts';

export class Ring {
  readonly #bytesMax: number;
  readonly #batchesMax: number;
  #batches: Batch[] = [];
  /** Index of the oldest; what is before it has been let go. */
  #head = 0;
  #bytes = 0;
  #newest = 0;

  constructor(bytesMax: number, batchesMax: number) {
    this.#bytesMax = bytesMax;
    this.#batchesMax = batchesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get batches(): number {
    return this.#batches.length - this.#head;
  }

  /** Number of the newest record ever put in, 0 before the first. */
  get newest(): number {
    return this.#newest;
  }

  /** Number of the oldest record that is still here; `newest + 1` when there is none. */
  get oldest(): number {
    return this.#batches[this.#head]?.seq ?? this.#newest + 1;
  }

  push(batch: Batch): void {
    this.#batches.push(batch);
    this.#bytes += batch.size;
    this.#newest = batch.last;
    while (this.batches > 0 && (this.#bytes > this.#bytesMax || this.batches > this.#batchesMax)) {
      this.#bytes -= this.#batches[this.#head]!.size;
      this.#batches[this.#head++] = undefined as unknown as Batch;
    }
    if (this.#head > 1024 && this.#head * 2 > this.#batches.length) {
      this.#batches = this.#batches.slice(this.#head);
      this.#head = 0;
    }
  }

  /** The batch that holds this record, or `undefined` when it has gone or is not there yet. */
  find(seq: number): Batch | undefined {
    if (seq < this.oldest || seq > this.#newest) return undefined;
    let low = this.#head;
    let high = this.#batches.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#batches[middle]!.seq <= seq) low = middle;
      else high = middle - 1;
    }
    return this.#batches[low];
  }

  /** From the newest to the oldest. */
  *backwards(): Generator<Batch> {
    for (let i = this.#batches.length - 1; i >= this.#head; i--) yield this.#batches[i]!;
  }
}
