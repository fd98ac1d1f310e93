/**
 * pcapng capture files, whole or streamed: several sections of either byte order, any number of interfaces, enhanced, simple and obsolete packet blocks.
 *
 * In      a feed that stands at a Section Header Block.
 * Out     batches of frames that lie in the reader's own block; interfaces, names and losses as their blocks come by. Blocks of other kinds are passed over.
 * Errors  a cut or lying block ends the source with a loss that names its byte; whatever precedes it has been handed out.
 * Not     Decryption Secrets Blocks are never read: keys stay where they are. A simple packet has no time stamp: it gets that of the frame before it, and the first of all gets the epoch.
 * Source  draft-ietf-opsawg-pcapng; the obsolete Packet Block is its appendix A.
 */
import type { FrameMemory } from '../decode/lanes.ts';
import { BLOCK_LENGTH, BlockWindow } from './block-window.ts';
import type { ByteFeed } from './byte-feed.ts';
import { CaptureFileError } from './capture-file-error.ts';
import { FrameArrays, LARGEST_FRAME } from './frame-arrays.ts';
import { LossLog } from './loss-log.ts';
import {
  ENHANCED_PACKET,
  INTERFACE_DESCRIPTION,
  INTERFACE_STATISTICS,
  NAME_RESOLUTION,
  PACKET,
  SECTION_HEADER,
  SIMPLE_PACKET,
} from './pcapng-block-types.ts';
import { DEFAULT_TSRESOL, PcapngClocks } from './pcapng-clock.ts';
import { readNames } from './pcapng-names.ts';
import {
  EPB_DROPCOUNT,
  EPB_FLAGS,
  IF_FILTER,
  IF_NAME,
  IF_TSOFFSET,
  IF_TSRESOL,
  ISB_IFDROP,
  ISB_OSDROP,
  OPT_COMMENT,
  optionText,
  walkOptions,
} from './pcapng-options.ts';
import type { CaptureInterface, FrameBatch, FrameSource, SourceLoss, SourceProgress } from './source.ts';
import { SourceBase } from './source-base.ts';

const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** Type and total length before, total length after. */
const BLOCK_MIN_LEN = 12;
const SECTION_MIN_LEN = 28;
const INTERFACE_MIN_LEN = 20;
const STATISTICS_MIN_LEN = 24;
/** Of enhanced and obsolete packet blocks alike: six words before the frame, one after. */
const PACKET_MIN_LEN = 32;
const PACKET_DATA = 28;
const SIMPLE_PACKET_MIN_LEN = 16;
const SIMPLE_PACKET_DATA = 12;
const PACKET_BLOCK_LIMIT = LARGEST_FRAME + 1024 * 1024;
/** So much of a block that describes something is looked at; the rest is passed over. */
const DESCRIPTION_LIMIT = 1024 * 1024;
const INTERFACE_LIMIT = 262_144;
const DROPS_UNKNOWN = 0xffff;
const COMMENTS_LIMIT = 64;
const COMMENT_LIMIT = 64 * 1024;
const NAME_LIMIT = 255;
const FILTER_LIMIT = 4096;
const DESCRIPTIONS_LIMIT = 16 * 1024 * 1024;
const INT32_MAX = 0x7fffffff;

const packetMinimum: ReadonlyMap<number, number> = new Map([
  [ENHANCED_PACKET, PACKET_MIN_LEN],
  [PACKET, PACKET_MIN_LEN],
  [SIMPLE_PACKET, SIMPLE_PACKET_MIN_LEN],
]);

/** Is this the beginning of a pcapng file? Needs twelve bytes. */
export function isPcapng(head: Uint8Array): boolean {
  if (head.length < BLOCK_MIN_LEN) return false;
  const view = new DataView(head.buffer, head.byteOffset, BLOCK_MIN_LEN);
  if (view.getUint32(0) !== SECTION_HEADER) return false;
  return view.getUint32(8, true) === BYTE_ORDER_MAGIC || view.getUint32(8, false) === BYTE_ORDER_MAGIC;
}

export interface PcapngOptions {
  /** Hand out the comments of frames with the batch. */
  readonly keepComments?: boolean;
  /** Bytes read at once. */
  readonly blockLength?: number;
}

export class PcapngSource implements FrameSource {
  readonly base: SourceBase;
  readonly interfaces: CaptureInterface[] = [];
  readonly names = new Map<string, string[]>();
  readonly #window: BlockWindow;
  readonly #name: string;
  #frames: FrameArrays;
  readonly #log = new LossLog();
  readonly #clocks: PcapngClocks;
  readonly #keepComments: boolean;
  /** What interfaces have lost so far by their statistics: `ifdrop` and `osdrop` count from the start of the capture. */
  readonly #reported = new Map<string, number>();
  #little = true;
  /** Index of the section's first interface. */
  #first = 0;
  #describable = DESCRIPTIONS_LIMIT;
  #lastNs = 0;
  #ended = false;

  /** @throws {CaptureFileError} CAPTURE_FORMAT when the feed holds no whole section header */
  constructor(feed: ByteFeed, base: SourceBase = new SourceBase(), options: PcapngOptions = {}) {
    this.base = base;
    this.#name = feed.name;
    this.#clocks = new PcapngClocks(base);
    this.#keepComments = options.keepComments === true;
    this.#window = new BlockWindow(feed, options.blockLength);
    this.#frames = new FrameArrays(options.blockLength ?? BLOCK_LENGTH);
    const filled = this.#window.fill(SECTION_MIN_LEN);
    if (!isPcapng(this.#window.bytes.subarray(0, this.#window.end)))
      throw this.#noCapture('a section header is wanted, it begins with none');
    if (!filled) throw this.#noCapture(`a section header of at least ${SECTION_MIN_LEN} bytes is wanted, ${this.#window.end} are there`);
    const fault = this.#sectionFault();
    if (fault !== undefined) throw this.#noCapture(fault);
    while (!this.#ended && this.#describes()) this.#advance();
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
      if (this.#parse() > 0) return this.#frames;
      this.#advance();
    }
    return undefined;
  }

  close(): void {
    this.#ended = true;
    this.#window.close();
  }

  /** Takes the whole packet blocks of the window up to the first block that is none, or that is cut or broken: {@link #advance} looks at that one. */
  #parse(): number {
    const window = this.#window;
    const frames = this.#frames;
    const clocks = this.#clocks;
    const { bytes, view, end } = window;
    const little = this.#little;
    const first = this.#first;
    const interfaceCount = this.interfaces.length - first;
    const { capacity, offset, capturedLength, wireLength, timeNs, interfaceId, direction } = frames;
    frames.comments = undefined;
    clocks.followBase();
    let position = window.start;
    let count = 0;
    while (count < capacity && end - position >= BLOCK_MIN_LEN) {
      const type = view.getUint32(position, little);
      const total = view.getUint32(position + 4, little);
      if (total > end - position || (total & 3) !== 0) break;
      if (type === ENHANCED_PACKET || type === PACKET) {
        if (total < PACKET_MIN_LEN || view.getUint32(position + total - 4, little) !== total) break;
        const id = type === ENHANCED_PACKET ? view.getUint32(position + 8, little) : view.getUint16(position + 8, little);
        const captured = view.getUint32(position + 20, little);
        const wire = view.getUint32(position + 24, little);
        if (id >= interfaceCount || captured > total - PACKET_MIN_LEN) break;
        const high = view.getUint32(position + 12, little);
        const low = view.getUint32(position + 16, little);
        if (!this.base.fixed) {
          clocks.fixBase(first + id, high, low);
          clocks.followBase();
        }
        offset[count] = position + PACKET_DATA;
        capturedLength[count] = captured;
        wireLength[count] = wire > INT32_MAX ? INT32_MAX : wire;
        timeNs[count] = clocks.timeNs(first + id, high, low);
        interfaceId[count] = first + id;
        direction[count] = 0;
        const optionsAt = position + PACKET_DATA + ((captured + 3) & ~3);
        if (optionsAt < position + total - 4) this.#packetOptions(bytes, view, optionsAt, position + total - 4, count);
        if (type === PACKET) this.#dropped(view.getUint16(position + 10, little), DROPS_UNKNOWN, timeNs[count]!);
      } else if (type === SIMPLE_PACKET) {
        if (total < SIMPLE_PACKET_MIN_LEN || interfaceCount === 0 || view.getUint32(position + total - 4, little) !== total) break;
        if (!this.base.fixed) this.base.fix(0);
        const wire = view.getUint32(position + 8, little);
        const { snapLength } = this.interfaces[first]!;
        offset[count] = position + SIMPLE_PACKET_DATA;
        capturedLength[count] = Math.min(wire, total - SIMPLE_PACKET_MIN_LEN, snapLength === 0 ? INT32_MAX : snapLength);
        wireLength[count] = wire > INT32_MAX ? INT32_MAX : wire;
        timeNs[count] = count > 0 ? timeNs[count - 1]! : this.#lastNs;
        interfaceId[count] = first;
        direction[count] = 0;
      } else break;
      position += total;
      count++;
    }
    window.start = position;
    frames.bytes = bytes;
    frames.view = view;
    frames.count = count;
    if (count > 0) this.#lastNs = timeNs[count - 1]!;
    return count;
  }

  #packetOptions(bytes: Uint8Array, view: DataView, from: number, to: number, index: number): void {
    const little = this.#little;
    walkOptions(view, from, to, little, (code, at, length) => {
      if (code === EPB_FLAGS && length === 4) {
        const way = view.getUint32(at, little) & 3;
        this.#frames.direction[index] = way === 3 ? 0 : way;
      } else if (code === EPB_DROPCOUNT && length === 8)
        this.#dropped(Number(view.getBigUint64(at, little)), Number.NaN, this.#frames.timeNs[index]!);
      else if (code === OPT_COMMENT && this.#keepComments) {
        this.#frames.comments ??= new Map();
        const comments = this.#frames.comments.get(index) ?? [];
        if (comments.length < COMMENTS_LIMIT) comments.push(optionText(bytes, at, length, COMMENT_LIMIT));
        this.#frames.comments.set(index, comments);
      }
    });
  }

  #dropped(count: number, unknown: number, atNs: number): void {
    if (count === 0 || count === unknown) return;
    this.#log.add({
      source: 'kernel',
      count,
      exact: true,
      atNs,
      detail: `Frames were lost before this one was captured: "${this.#name}" says ${count}`,
    });
  }

  /** Does the window begin with a whole block that is no packet? Those before the first packet are read at once, so that the interfaces are known early. */
  #describes(): boolean {
    const { view, start, end } = this.#window;
    if (end - start < BLOCK_MIN_LEN || packetMinimum.has(view.getUint32(start, this.#little))) return false;
    return view.getUint32(start + 4, this.#little) <= end - start;
  }

  /** Looks at the block at the front of the window, which {@link #parse} did not take: reads more of it, takes what it describes, or ends. */
  #advance(): undefined {
    const window = this.#window;
    if (window.end - window.start < BLOCK_MIN_LEN) {
      if (!window.fill(BLOCK_MIN_LEN)) this.#stopAtEnd(`at least ${BLOCK_MIN_LEN}`);
      return;
    }
    const type = window.view.getUint32(window.start, this.#little);
    if (type === SECTION_HEADER) {
      if (!window.fill(SECTION_MIN_LEN)) return this.#stopAtEnd(`at least ${SECTION_MIN_LEN}`);
      const fault = this.#sectionFault();
      if (fault !== undefined) return this.#stopAtLie(fault);
    }
    const total = window.view.getUint32(window.start + 4, this.#little);
    const minimum = packetMinimum.get(type);
    if (total < (minimum ?? BLOCK_MIN_LEN) || (total & 3) !== 0) {
      return this.#stopAtLie(`a block length of ${minimum ?? BLOCK_MIN_LEN} or more, divisible by 4, is wanted, it says ${total}`);
    }
    if (minimum !== undefined) {
      if (total > PACKET_BLOCK_LIMIT)
        return this.#stopAtLie(`a packet block of at most ${PACKET_BLOCK_LIMIT} bytes is wanted, it says ${total}`);
      if (window.end - window.start >= total) return this.#stopAtLie(this.#packetFault(type, total));
      if (!window.fill(total)) this.#stopAtEnd(String(total));
      return;
    }
    const looked = Math.min(total, DESCRIPTION_LIMIT);
    if (!window.fill(looked)) return this.#stopAtEnd(String(total));
    if (looked === total && window.view.getUint32(window.start + total - 4, this.#little) !== total)
      return this.#stopAtLie(this.#trailerFault(total));
    const to = window.start + (looked === total ? total - 4 : looked);
    if (type === SECTION_HEADER) this.#first = this.interfaces.length;
    else if (type === INTERFACE_DESCRIPTION) {
      if (total < INTERFACE_MIN_LEN)
        return this.#stopAtLie(`an interface description of at least ${INTERFACE_MIN_LEN} bytes is wanted, it says ${total}`);
      if (this.interfaces.length >= INTERFACE_LIMIT)
        return this.#stopAtLie(`at most ${INTERFACE_LIMIT} interfaces are wanted, here is one more`);
      this.#addInterface(window.start, to);
    } else if (type === NAME_RESOLUTION) readNames(window.view, window.start + 8, to, this.#little, this.names);
    else if (type === INTERFACE_STATISTICS && total >= STATISTICS_MIN_LEN) this.#statistics(window.start, to);
    const blockAt = window.offset;
    if (!window.skip(total)) this.#stopAtEnd(String(total), blockAt);
  }

  #addInterface(at: number, to: number): void {
    const { view } = this.#window;
    const little = this.#little;
    let name: string | undefined;
    let filter: string | undefined;
    let resolution = DEFAULT_TSRESOL;
    let offsetSeconds = 0n;
    walkOptions(view, at + 16, to, little, (code, valueAt, length) => {
      if (code === IF_NAME) name = this.#describe(valueAt, length, NAME_LIMIT);
      else if (code === IF_TSRESOL && length === 1) resolution = view.getUint8(valueAt);
      else if (code === IF_TSOFFSET && length === 8) offsetSeconds = view.getBigInt64(valueAt, little);
      // its first byte tells the kind of filter; 0 is text as libpcap takes it
      else if (code === IF_FILTER && length > 1 && view.getUint8(valueAt) === 0)
        filter = this.#describe(valueAt + 1, length - 1, FILTER_LIMIT);
    });
    this.interfaces.push({
      linkType: view.getUint16(at + 8, little),
      snapLength: Math.min(view.getUint32(at + 12, little), INT32_MAX),
      ...(name === undefined ? {} : { name }),
      ...(filter === undefined ? {} : { filter }),
    });
    this.#clocks.add(resolution, offsetSeconds);
  }

  /** Text about an interface, as long as all such texts together stay small. */
  #describe(at: number, length: number, limit: number): string | undefined {
    this.#describable -= Math.min(length, limit);
    return this.#describable < 0 ? undefined : optionText(this.#window.bytes, at, length, limit);
  }

  #statistics(at: number, to: number): void {
    const { view } = this.#window;
    const little = this.#little;
    const id = view.getUint32(at + 8, little);
    const index = this.#first + id;
    const known = this.interfaces[index];
    if (known === undefined) return;
    this.#clocks.followBase();
    const atNs = this.base.fixed
      ? this.#clocks.timeNs(index, view.getUint32(at + 12, little), view.getUint32(at + 16, little))
      : this.#lastNs;
    walkOptions(view, at + 20, to, little, (code, valueAt, length) => {
      if ((code !== ISB_IFDROP && code !== ISB_OSDROP) || length !== 8) return;
      const source = code === ISB_IFDROP ? 'interface' : 'kernel';
      const key = `${index}/${source}`;
      const value = Number(view.getBigUint64(valueAt, little));
      const count = value - (this.#reported.get(key) ?? 0);
      if (count <= 0) return;
      this.#reported.set(key, value);
      const detail = `Frames were lost while "${known.name ?? `interface ${id}`}" was captured: the statistics in "${this.#name}" say ${value}`;
      this.#log.add({ source, count, exact: true, atNs, detail });
    });
  }

  /** Judges the section header at the front of the window and takes its byte order. */
  #sectionFault(): string | undefined {
    const { view, start } = this.#window;
    const magic = view.getUint32(start + 8, true);
    if (magic !== BYTE_ORDER_MAGIC && view.getUint32(start + 8, false) !== BYTE_ORDER_MAGIC)
      return `the byte-order magic 0x1a2b3c4d is wanted, it says 0x${magic.toString(16).padStart(8, '0')}`;
    this.#little = magic === BYTE_ORDER_MAGIC;
    const total = view.getUint32(start + 4, this.#little);
    if (total < SECTION_MIN_LEN) return `a section header of at least ${SECTION_MIN_LEN} bytes is wanted, it says ${total}`;
    const major = view.getUint16(start + 12, this.#little);
    return major === 1 ? undefined : `version 1 is wanted, the section is of version ${major}.${view.getUint16(start + 14, this.#little)}`;
  }

  /** Why {@link #parse} did not take a packet block that is there as a whole. */
  #packetFault(type: number, total: number): string {
    const { view, start } = this.#window;
    if (view.getUint32(start + total - 4, this.#little) !== total) return this.#trailerFault(total);
    const known = this.interfaces.length - this.#first;
    if (type === SIMPLE_PACKET) return 'an interface for the simple packet is wanted, the section has described none';
    const id = type === ENHANCED_PACKET ? view.getUint32(start + 8, this.#little) : view.getUint16(start + 8, this.#little);
    if (id >= known) return `one of the ${known} interfaces of the section is wanted, it says ${id}`;
    return `a frame that fits in its block of ${total} bytes is wanted, it says ${view.getUint32(start + 20, this.#little)}`;
  }

  #trailerFault(total: number): string {
    const { view, start } = this.#window;
    return `the same block length before and after is wanted, it says ${total} and ${view.getUint32(start + total - 4, this.#little)}`;
  }

  #stopAtLie(state: string): undefined {
    this.#ended = true;
    this.#log.broken('malformed', this.#lastNs, `Cannot read on in "${this.#name}" at byte ${this.#window.offset}: ${state}`);
  }

  #stopAtEnd(wanted: string, blockAt: number = this.#window.offset): undefined {
    this.#ended = true;
    const { fault, origin, end } = this.#window;
    const have = origin + end - blockAt;
    if (fault !== undefined) this.#log.broken('truncated', this.#lastNs, fault);
    else if (have > 0)
      this.#log.broken(
        'truncated',
        this.#lastNs,
        `Cannot read all of "${this.#name}": the block at byte ${blockAt} wants ${wanted} bytes, ${have} are there`,
      );
  }

  #noCapture(state: string): CaptureFileError {
    return new CaptureFileError('CAPTURE_FORMAT', `Cannot read "${this.#name}" as a pcapng file: ${state}`, {
      path: this.#name,
      offset: 0,
    });
  }
}
