/**
 * Classic capture files, whole or streamed: either byte order, microseconds or nanoseconds, and the variant with a longer record header (0xa1b2cd34).
 *
 * In      a feed that stands at the magic number.
 * Out     batches of frames that lie in the reader's own block; no copy and no object per frame.
 * Errors  a cut or lying record ends the source with a loss that names its byte; whatever precedes it has been handed out.
 * Source  draft-ietf-opsawg-pcap; libpcap sf-pcap.c (swapped lengths before version 2.4, Kuznetzov's header).
 */
import type { FrameMemory } from '../decode/lanes.ts';
import { BLOCK_LENGTH, BlockWindow } from './block-window.ts';
import type { ByteFeed } from './byte-feed.ts';
import { CaptureFileError } from './capture-file-error.ts';
import { FrameArrays, frameLimit } from './frame-arrays.ts';
import { LossLog } from './loss-log.ts';
import type { CaptureInterface, FrameBatch, FrameSource, SourceLoss, SourceProgress } from './source.ts';
import { SourceBase } from './source-base.ts';

const FILE_HEADER_LEN = 24;
const RECORD_HEADER_LEN = 16;
const KUZNETZOV_RECORD_HEADER_LEN = 24;
/** Place of the packet type in Kuznetzov's record header, and its value for a frame that we sent (PACKET_OUTGOING). */
const KUZNETZOV_PACKET_TYPE = 22;
const PACKET_OUTGOING = 4;
const INT32_MAX = 0x7fffffff;

const variants: ReadonlyMap<number, { fractionNs: number; kuznetzov: boolean }> = new Map([
  [0xa1b2c3d4, { fractionNs: 1000, kuznetzov: false }],
  [0xa1b23c4d, { fractionNs: 1, kuznetzov: false }],
  [0xa1b2cd34, { fractionNs: 1000, kuznetzov: true }],
]);

/** Is this the beginning of a classic capture file? Needs four bytes. */
export function isPcap(head: Uint8Array): boolean {
  if (head.length < 4) return false;
  const view = new DataView(head.buffer, head.byteOffset, 4);
  return variants.has(view.getUint32(0, true)) || variants.has(view.getUint32(0, false));
}

export class PcapSource implements FrameSource {
  readonly base: SourceBase;
  readonly interfaces: readonly CaptureInterface[];
  readonly #window: BlockWindow;
  readonly #name: string;
  #frames: FrameArrays;
  readonly #log = new LossLog();
  readonly #little: boolean;
  readonly #fractionNs: number;
  readonly #headerLength: number;
  readonly #limit: number;
  /** Captured and wire length change places: 0 never, 1 where the captured one is the larger, 2 always. */
  readonly #swapLengths: 0 | 1 | 2;
  #need = RECORD_HEADER_LEN;
  #lastNs = 0;
  #ended = false;

  /** @throws {CaptureFileError} CAPTURE_FORMAT when the feed holds no whole file header of a classic capture file */
  constructor(feed: ByteFeed, base: SourceBase = new SourceBase(), blockLength: number = BLOCK_LENGTH) {
    this.base = base;
    this.#name = feed.name;
    this.#window = new BlockWindow(feed, blockLength);
    this.#frames = new FrameArrays(blockLength);
    if (!this.#window.fill(FILE_HEADER_LEN))
      throw this.#noCapture(`${FILE_HEADER_LEN} bytes of file header are wanted, ${this.#window.end} are there`);
    const view = this.#window.view;
    this.#little = variants.has(view.getUint32(0, true));
    const magic = view.getUint32(0, this.#little);
    const variant = variants.get(magic);
    if (variant === undefined)
      throw this.#noCapture(`a magic number of a capture file is wanted, it begins with 0x${magic.toString(16).padStart(8, '0')}`);
    const major = view.getUint16(4, this.#little);
    const minor = view.getUint16(6, this.#little);
    if (major !== 2) throw this.#noCapture(`version 2 is wanted, it is of version ${major}.${minor}`);
    this.#swapLengths = minor < 3 ? 2 : minor === 3 ? 1 : 0;
    this.#fractionNs = variant.fractionNs;
    this.#headerLength = variant.kuznetzov ? KUZNETZOV_RECORD_HEADER_LEN : RECORD_HEADER_LEN;
    const snapLength = view.getUint32(16, this.#little);
    this.#limit = frameLimit(snapLength);
    // the upper half holds the length of the frame check sequence
    this.interfaces = [{ linkType: view.getUint32(20, this.#little) & 0xffff, snapLength: Math.min(snapLength, INT32_MAX) }];
    this.#window.start = FILE_HEADER_LEN;
  }

  get losses(): readonly SourceLoss[] {
    return this.#log.list;
  }

  get malformed(): boolean {
    return this.#log.malformed;
  }

  get progress(): SourceProgress {
    return this.#window.progress;
  }

  useMemory(memory: FrameMemory): void {
    if (this.#window.moveTo(memory.bytes, memory.view)) this.#frames = new FrameArrays(memory.bytes.length, memory);
  }

  next(): FrameBatch | undefined {
    while (!this.#ended) {
      if (!this.base.fixed) this.#fixBase();
      if (this.#parse() > 0) return this.#frames;
      if (this.#need > this.#headerLength + this.#limit) this.#stopAtLie();
      else if (!this.#window.fill(this.#need)) this.#stopAtEnd();
    }
    return undefined;
  }

  close(): void {
    this.#ended = true;
    this.#window.close();
  }

  #fixBase(): void {
    const { view, start, end } = this.#window;
    if (end - start < this.#headerLength) return;
    this.base.fix(view.getUint32(start, this.#little));
  }

  /** Takes the whole records of the block, at most a batch of them; leaves in `#need` how many bytes the next one wants. */
  #parse(): number {
    const window = this.#window;
    const frames = this.#frames;
    const view = window.view;
    const end = window.end;
    const little = this.#little;
    const fractionNs = this.#fractionNs;
    const headerLength = this.#headerLength;
    const limit = this.#limit;
    const swap = this.#swapLengths;
    const kuznetzov = headerLength === KUZNETZOV_RECORD_HEADER_LEN;
    const baseSeconds = this.base.epochSeconds;
    const { capacity, offset, capturedLength, wireLength, timeNs, direction } = frames;
    let position = window.start;
    let count = 0;
    this.#need = headerLength;
    while (count < capacity && end - position >= headerLength) {
      let captured = view.getUint32(position + 8, little);
      let wire = view.getUint32(position + 12, little);
      if (swap !== 0 && (swap === 2 || captured > wire)) {
        const other = captured;
        captured = wire;
        wire = other;
      }
      const first = position + headerLength;
      if (captured > limit || captured > end - first) {
        this.#need = headerLength + captured;
        break;
      }
      offset[count] = first;
      capturedLength[count] = captured;
      wireLength[count] = wire > INT32_MAX ? INT32_MAX : wire;
      timeNs[count] = (view.getUint32(position, little) - baseSeconds) * 1e9 + view.getUint32(position + 4, little) * fractionNs;
      if (kuznetzov) direction[count] = view.getUint8(position + KUZNETZOV_PACKET_TYPE) === PACKET_OUTGOING ? 2 : 1;
      position = first + captured;
      count++;
    }
    window.start = position;
    frames.bytes = window.bytes;
    frames.view = view;
    frames.count = count;
    if (count > 0) this.#lastNs = timeNs[count - 1]!;
    return count;
  }

  #stopAtLie(): void {
    this.#ended = true;
    const captured = this.#need - this.#headerLength;
    const detail = `Cannot read on in "${this.#name}" at byte ${this.#window.offset}: a record of at most ${this.#limit} bytes is wanted, it says ${captured}`;
    this.#log.broken('malformed', this.#lastNs, detail);
  }

  #stopAtEnd(): void {
    this.#ended = true;
    const { fault, offset, start, end } = this.#window;
    const left = end - start;
    if (fault !== undefined) this.#log.broken('truncated', this.#lastNs, fault);
    else if (left > 0)
      this.#log.broken(
        'truncated',
        this.#lastNs,
        `Cannot read all of "${this.#name}": the record at byte ${offset} wants ${this.#need > this.#headerLength ? '' : 'at least '}${this.#need} bytes, ${left} are there`,
      );
  }

  #noCapture(state: string): CaptureFileError {
    return new CaptureFileError('CAPTURE_FORMAT', `Cannot read "${this.#name}" as a pcap file: ${state}`, { path: this.#name, offset: 0 });
  }
}
