/**
 * gzip around another feed: one member after the other, checked by length and CRC. A cut stream gives what is there, then a fault.
 * Source: RFC 1952.
 */
import { crc32 } from 'node:zlib';
import type { ByteFeed } from './byte-feed.ts';
import { Inflate } from './inflate.ts';

const FHCRC = 2;
const FEXTRA = 4;
const FNAME = 8;
const FCOMMENT = 16;
const METHOD_DEFLATE = 8;

export function isGzip(head: Uint8Array): boolean {
  return head.length >= 3 && head[0] === 0x1f && head[1] === 0x8b && head[2] === METHOD_DEFLATE;
}

export class GzipFeed implements ByteFeed {
  readonly name: string;
  fault: string | undefined;
  readonly #feed: ByteFeed;
  readonly #inflate: Inflate;
  #inMember = false;
  #members = 0;
  #crc = 0;
  #length = 0;

  constructor(feed: ByteFeed) {
    this.#feed = feed;
    this.name = feed.name;
    this.#inflate = new Inflate(feed);
  }

  read(into: Uint8Array, offset: number, length: number): number {
    while (this.fault === undefined) {
      if (!this.#inMember && !this.#beginMember()) return 0;
      const n = this.#inflate.read(into, offset, length);
      if (n > 0) {
        this.#crc = crc32(into.subarray(offset, offset + n), this.#crc);
        this.#length += n;
        return n;
      }
      if (this.#inflate.fault === undefined) this.#endMember();
      else this.#stop(this.#inflate.fault);
    }
    return 0;
  }

  get taken(): number {
    return this.#feed.taken;
  }

  get size(): number | undefined {
    return this.#feed.size;
  }

  close(): void {
    this.#feed.close();
  }

  /** Reads a member's header; false where there is none. Zeros behind the last member are padding. */
  #beginMember(): boolean {
    let first = this.#inflate.takeByte();
    while (first === 0 && this.#members > 0) first = this.#inflate.takeByte();
    if (first === undefined) {
      this.fault = this.#feed.fault;
      return false;
    }
    const head = [first, ...this.#take(9)];
    if (head.length < 10) this.#stop('a header of 10 bytes is wanted, the input ends');
    else if (!isGzip(Uint8Array.from(head))) this.#stop('the header of a deflated member is wanted, other bytes follow');
    else {
      const flags = head[3]!;
      if ((flags & FEXTRA) !== 0) {
        const [low = 0, high = 0] = this.#take(2);
        this.#take(low | (high << 8));
      }
      if ((flags & FNAME) !== 0) this.#takeText();
      if ((flags & FCOMMENT) !== 0) this.#takeText();
      if ((flags & FHCRC) !== 0) this.#take(2);
    }
    if (this.fault !== undefined) return false;
    this.#inflate.restart();
    this.#inMember = true;
    this.#members++;
    this.#crc = 0;
    this.#length = 0;
    return true;
  }

  #endMember(): undefined {
    this.#inMember = false;
    const trailer = Uint8Array.from(this.#take(8));
    if (trailer.length < 8) return this.#stop('a checksum and a length are wanted, the input ends');
    const view = new DataView(trailer.buffer);
    const crc = view.getUint32(0, true);
    const length = view.getUint32(4, true);
    if (crc !== this.#crc || length !== this.#length % 2 ** 32)
      this.#stop(
        `${length} bytes with checksum 0x${crc.toString(16)} are wanted, ${this.#length} with 0x${this.#crc.toString(16)} are there`,
      );
  }

  /** At most `count` bytes, fewer at the end of the input. */
  #take(count: number): number[] {
    const taken: number[] = [];
    while (taken.length < count) {
      const byte = this.#inflate.takeByte();
      if (byte === undefined) break;
      taken.push(byte);
    }
    return taken;
  }

  /** Passes over a NUL-terminated text. */
  #takeText(): void {
    let byte = this.#inflate.takeByte();
    while (byte !== undefined && byte !== 0) byte = this.#inflate.takeByte();
  }

  #stop(state: string): undefined {
    this.fault = this.#feed.fault ?? `Cannot unpack all of "${this.name}" with gzip after ${this.#length} bytes: ${state}`;
  }
}
