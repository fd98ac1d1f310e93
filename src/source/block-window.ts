/**
 * One reused block over a feed: unread bytes lie in [start, end); a refill moves the unread tail to the front and reads behind it.
 * The block grows by doubling, and only as bytes really arrive, so a lying length never makes a buffer of that length.
 */
import type { ByteFeed } from './byte-feed.ts';
import type { SourceProgress } from './source.ts';

export const BLOCK_LENGTH = 256 * 1024;

export class BlockWindow {
  bytes: Uint8Array;
  view: DataView;
  start = 0;
  end = 0;
  /** Place of `bytes[0]` in the input. */
  origin = 0;
  readonly #feed: ByteFeed;

  constructor(feed: ByteFeed, length: number = BLOCK_LENGTH) {
    this.#feed = feed;
    this.bytes = new Uint8Array(length);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Place of the next unread byte in the input. */
  get offset(): number {
    return this.origin + this.start;
  }

  get fault(): string | undefined {
    return this.#feed.fault;
  }

  get progress(): SourceProgress {
    return { taken: this.#feed.taken, size: this.#feed.size };
  }

  /** Has at least `wanted` unread bytes ready; false when the input ends first. Whatever was handed out of the block is void afterwards. */
  fill(wanted: number): boolean {
    if (this.end - this.start >= wanted) return true;
    if (this.start > 0) {
      this.bytes.copyWithin(0, this.start, this.end);
      this.origin += this.start;
      this.end -= this.start;
      this.start = 0;
    }
    while (this.end < wanted) {
      if (this.end === this.bytes.length) this.#grow();
      const n = this.#feed.read(this.bytes, this.end, this.bytes.length - this.end);
      if (n === 0) return false;
      this.end += n;
    }
    return true;
  }

  /** Passes over `length` bytes, read or not; false when the input ends first. */
  skip(length: number): boolean {
    let left = length;
    for (;;) {
      const have = this.end - this.start;
      if (left <= have) {
        this.start += left;
        return true;
      }
      left -= have;
      this.start = this.end;
      if (!this.fill(1)) return false;
    }
  }

  /** Goes on in a block of somebody else, if what is unread fits into it. Whatever was handed out before is void. */
  moveTo(bytes: Uint8Array, view: DataView): boolean {
    const unread = this.end - this.start;
    if (unread > bytes.length || this.bytes.length > bytes.length) return false;
    bytes.set(this.bytes.subarray(this.start, this.end));
    this.origin += this.start;
    this.start = 0;
    this.end = unread;
    this.bytes = bytes;
    this.view = view;
    return true;
  }

  close(): void {
    this.#feed.close();
  }

  #grow(): void {
    const grown = new Uint8Array(this.bytes.length * 2);
    grown.set(this.bytes);
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }
}
