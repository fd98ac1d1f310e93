/**
 * Zstandard around another feed: one block at a time is decompressed, so the frame's window is all that is ever held. A cut stream gives what is there, then a fault.
 *
 * The framing is read here, because it bounds what the decompressor may be given; content checksums are not compared (the library does not).
 * Source: RFC 8878 section 3.1.
 */
import { Decompress } from 'fzstd';
import { errorText } from '../net/error-text.ts';
import { BlockWindow } from './block-window.ts';
import type { ByteFeed } from './byte-feed.ts';

const MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
/** Magic, descriptor, window, dictionary, content size. */
const LONGEST_HEADER = 18;
/** What zstd itself takes without being told otherwise (--long=27). */
const LARGEST_WINDOW = 128 * 1024 * 1024;
/** All windows together, beside 16 times what they bring: a file of a million empty frames must not take hours. */
const WINDOWS_BUDGET = 64 * 1024 * 1024 * 1024;
const LONGEST_BLOCK = 128 * 1024;
const BLOCK_HEADER_LEN = 3;
const RLE_BLOCK = 1;
const CHECKSUM_LEN = 4;

const isSkippable = (magic: number) => (magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC;

export function isZstd(head: Uint8Array): boolean {
  if (head.length < 4) return false;
  const magic = new DataView(head.buffer, head.byteOffset, 4).getUint32(0, true);
  return magic === MAGIC || isSkippable(magic);
}

export class ZstdFeed implements ByteFeed {
  readonly name: string;
  fault: string | undefined;
  readonly #feed: ByteFeed;
  readonly #input: BlockWindow;
  #frame: Decompress | undefined;
  /** The frame's header, until it goes to the decompressor together with the first block. */
  #headerLength = 0;
  #checksum = false;
  #windows = 0;
  #unpacked = 0;
  #ready: Uint8Array[] = [];
  #readAt = 0;

  constructor(feed: ByteFeed) {
    this.name = feed.name;
    this.#feed = feed;
    this.#input = new BlockWindow(feed);
  }

  read(into: Uint8Array, offset: number, length: number): number {
    for (;;) {
      const chunk = this.#ready[0];
      if (chunk !== undefined && this.#readAt < chunk.length) {
        const n = Math.min(length, chunk.length - this.#readAt);
        into.set(chunk.subarray(this.#readAt, this.#readAt + n), offset);
        this.#readAt += n;
        return n;
      }
      this.#readAt = 0;
      if (this.#ready.length > 0) this.#ready.shift();
      else if (this.fault !== undefined) return 0;
      else if (this.#frame !== undefined) this.#block(this.#frame);
      else if (!this.#beginFrame()) return 0;
    }
  }

  get taken(): number {
    return this.#feed.taken;
  }

  get size(): number | undefined {
    return this.#feed.size;
  }

  close(): void {
    this.#input.close();
  }

  /** Reads a frame's header, or passes over a skippable frame; false at the end or at a fault. */
  #beginFrame(): true | undefined {
    const input = this.#input;
    if (!input.fill(4)) {
      if (input.end > input.start || input.fault !== undefined) this.#stop('a frame is wanted, the input ends');
      return undefined;
    }
    const magic = input.view.getUint32(input.start, true);
    if (isSkippable(magic)) {
      if (input.fill(8) && input.skip(8 + input.view.getUint32(input.start + 4, true))) return true;
      return this.#stop('a whole skippable frame is wanted, the input ends');
    }
    if (magic !== MAGIC) return this.#stop(`the magic number of a frame is wanted, it is 0x${magic.toString(16)}`);
    input.fill(LONGEST_HEADER);
    const { view, start, end } = input;
    const descriptor = end - start > 4 ? view.getUint8(start + 4) : 0;
    const single = (descriptor >> 5) & 1;
    const sizeFlag = descriptor >> 6;
    const dictionaryLength = [0, 1, 2, 4][descriptor & 3]!;
    const sizeLength = sizeFlag === 0 ? single : 1 << sizeFlag;
    const header = 6 - single + dictionaryLength + sizeLength;
    if (end - start < header) return this.#stop(`a frame header of ${header} bytes is wanted, ${end - start} are there`);
    if (dictionaryLength > 0) return this.#stop('a frame without a dictionary is wanted, this one needs one');
    let window: number;
    if (single === 1) {
      const at = start + header - sizeLength;
      window =
        sizeLength === 1
          ? view.getUint8(at)
          : sizeLength === 2
            ? view.getUint16(at, true) + 256
            : sizeLength === 4
              ? view.getUint32(at, true)
              : Number(view.getBigUint64(at, true));
    } else {
      const byte = view.getUint8(start + 5);
      window = 2 ** (10 + (byte >> 3)) * (1 + (byte & 7) / 8);
    }
    if (window > LARGEST_WINDOW) return this.#stop(`a window of at most ${LARGEST_WINDOW} bytes is wanted, the frame wants ${window}`);
    this.#windows += window;
    if (this.#windows > WINDOWS_BUDGET + 16 * this.#unpacked)
      return this.#stop(`more than ${this.#unpacked} bytes are wanted from frames with windows of ${this.#windows} bytes`);
    this.#headerLength = header;
    this.#checksum = (descriptor & 4) !== 0;
    this.#frame = new Decompress((data) => {
      if (data.length === 0) return;
      this.#ready.push(data);
      this.#unpacked += data.length;
    });
    return true;
  }

  /** Gives one block to the decompressor, the first together with the frame's header and the last with the checksum. */
  #block(frame: Decompress): undefined {
    const input = this.#input;
    const before = this.#headerLength;
    if (!input.fill(before + BLOCK_HEADER_LEN)) return this.#stop('a block is wanted, the input ends');
    const at = input.start + before;
    const header = input.view.getUint16(at, true) | (input.view.getUint8(at + 2) << 16);
    const last = (header & 1) === 1;
    const kind = (header >> 1) & 3;
    const size = header >> 3;
    if (size > LONGEST_BLOCK) return this.#stop(`a block of at most ${LONGEST_BLOCK} bytes is wanted, it says ${size}`);
    const total = before + BLOCK_HEADER_LEN + (kind === RLE_BLOCK ? 1 : size) + (last && this.#checksum ? CHECKSUM_LEN : 0);
    if (!input.fill(total)) return this.#stop(`a block of ${total} bytes is wanted, ${input.end - input.start} are there`);
    try {
      const bytes = input.bytes.subarray(input.start, input.start + total);
      // what is shorter than the longest header the library keeps until the next call, and the window is reused
      frame.push(total < LONGEST_HEADER ? bytes.slice() : bytes, last);
    } catch (error) {
      return this.#stop(`a block that can be decompressed is wanted, it says: ${errorText(error)}`);
    }
    input.start += total;
    this.#headerLength = 0;
    if (last) this.#frame = undefined;
  }

  #stop(state: string): undefined {
    this.fault = this.#input.fault ?? `Cannot unpack all of "${this.name}" with zstd at byte ${this.#input.offset}: ${state}`;
    return undefined;
  }
}
