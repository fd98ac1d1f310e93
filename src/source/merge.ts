/**
 * Several sources as one, in the order of time. Frames of one source keep their order, even where its stamps go backwards; of equal stamps the earlier source goes first.
 *
 * In      sources that share one time base.
 * Out     batches in a block of the merger's own: frames are copied, a run of one source at once.
 */
import type { TimeBase } from '../net/time.ts';
import { FrameArrays } from './frame-arrays.ts';
import type { CaptureInterface, FrameBatch, FrameSource, SourceLoss, SourceProgress } from './source.ts';

const BLOCK_LENGTH = 512 * 1024;

/** A source with its batch in hand, and where in it the merger stands. */
class Input {
  readonly source: FrameSource;
  readonly rank: number;
  batch: FrameBatch | undefined;
  position = 0;
  timeNs = 0;
  lossesSeen = 0;
  /** Interfaces of the merged source, by the source's own index. */
  readonly interfaceMap: number[] = [];

  constructor(source: FrameSource, rank: number) {
    this.source = source;
    this.rank = rank;
  }

  /** Stands at the next frame; false when there is none. */
  load(): boolean {
    while (this.batch === undefined || this.position >= this.batch.count) {
      this.batch = this.source.next();
      this.position = 0;
      if (this.batch === undefined) return false;
    }
    this.timeNs = this.batch.timeNs[this.position]!;
    return true;
  }
}

const before = (a: Input, b: Input) => a.timeNs < b.timeNs || (a.timeNs === b.timeNs && a.rank < b.rank);

export class MergedSource implements FrameSource {
  readonly base: TimeBase;
  /** Those that the sources know from the beginning, then others as their frames come. */
  readonly interfaces: CaptureInterface[] = [];
  /** For each of `interfaces`, the place of its source among those given. */
  readonly inputOf: number[] = [];
  readonly losses: SourceLoss[] = [];
  readonly names = new Map<string, readonly string[]>();
  readonly #inputs: readonly Input[];
  /** Binary heap of the inputs that have a frame, the earliest first. */
  readonly #heap: Input[] = [];
  readonly #frames = new FrameArrays(BLOCK_LENGTH);
  #filled = 0;
  #started = false;

  /** @throws {RangeError} without any source */
  constructor(sources: readonly FrameSource[]) {
    const [first] = sources;
    if (first === undefined) throw new RangeError('Cannot merge captures: at least one is wanted, none is given');
    this.base = first.base;
    this.#inputs = sources.map((source, rank) => new Input(source, rank));
    for (const input of this.#inputs) for (let index = 0; index < input.source.interfaces.length; index++) this.#interface(input, index);
    this.#useBlock(BLOCK_LENGTH);
  }

  get malformed(): boolean {
    return this.#inputs.some((input) => input.source.malformed);
  }

  get progress(): SourceProgress {
    let taken = 0;
    let size: number | undefined = 0;
    for (const { source } of this.#inputs) {
      taken += source.progress?.taken ?? 0;
      const own = source.progress?.size;
      size = size === undefined || own === undefined ? undefined : size + own;
    }
    return { taken, size };
  }

  next(): FrameBatch | undefined {
    if (!this.#started) {
      this.#started = true;
      for (const input of this.#inputs) if (this.#load(input)) this.#push(input);
    }
    const frames = this.#frames;
    frames.count = 0;
    frames.comments = undefined;
    this.#filled = 0;
    while (this.#heap.length > 0 && frames.count < frames.capacity) {
      const input = this.#heap[0]!;
      const took = this.#takeRun(input);
      if (took === 0) break;
      if (this.#load(input)) this.#sink(0);
      else this.#pop();
    }
    return frames.count > 0 ? frames : undefined;
  }

  close(): void {
    for (const input of this.#inputs) input.source.close();
    this.#heap.length = 0;
  }

  /** Copies the frames of the earliest input that go before everybody else's, as many as fit; returns how many. */
  #takeRun(input: Input): number {
    const batch = input.batch!;
    const frames = this.#frames;
    const rival = this.#rival();
    const first = input.position;
    const room = Math.min(batch.count, first + frames.capacity - frames.count);
    const from = batch.offset[first]!;
    let free = frames.bytes.length - this.#filled;
    let last = first;
    let to = from;
    while (last < room) {
      const end = batch.offset[last]! + batch.capturedLength[last]!;
      if (end - from > free) {
        if (last > first || frames.count > 0) break;
        this.#useBlock(end - from);
        free = frames.bytes.length;
      }
      input.timeNs = batch.timeNs[last]!;
      if (last > first && rival !== undefined && before(rival, input)) break;
      to = end;
      last++;
    }
    if (last === first) return 0;
    frames.bytes.set(batch.bytes.subarray(from, to), this.#filled);
    const shift = this.#filled - from;
    for (let i = first; i < last; i++) {
      const at = frames.count++;
      frames.offset[at] = batch.offset[i]! + shift;
      frames.capturedLength[at] = batch.capturedLength[i]!;
      frames.wireLength[at] = batch.wireLength[i]!;
      frames.timeNs[at] = batch.timeNs[i]!;
      frames.interfaceId[at] = this.#interface(input, batch.interfaceId[i]!);
      frames.direction[at] = batch.direction?.[i] ?? 0;
      const comments = batch.comments?.get(i);
      if (comments !== undefined) {
        frames.comments ??= new Map();
        frames.comments.set(at, [...comments]);
      }
    }
    this.#filled += to - from;
    input.position = last;
    return last - first;
  }

  #useBlock(length: number): void {
    this.#frames.bytes = new Uint8Array(length);
    this.#frames.view = new DataView(this.#frames.bytes.buffer);
  }

  #interface(input: Input, index: number): number {
    let merged = input.interfaceMap[index];
    if (merged === undefined) {
      merged = this.interfaces.length;
      this.interfaces.push(input.source.interfaces[index]!);
      this.inputOf.push(input.rank);
      input.interfaceMap[index] = merged;
    }
    return merged;
  }

  /** Moves an input to its next frame, and takes over what it lost on the way. */
  #load(input: Input): boolean {
    const has = input.load();
    for (; input.lossesSeen < input.source.losses.length; input.lossesSeen++) this.losses.push(input.source.losses[input.lossesSeen]!);
    if (!has)
      for (const [ip, names] of input.source.names ?? []) this.names.set(ip, [...new Set([...(this.names.get(ip) ?? []), ...names])]);
    return has;
  }

  /** The earliest input but the first. */
  #rival(): Input | undefined {
    const [, left, right] = this.#heap;
    if (left === undefined || right === undefined) return left;
    return before(right, left) ? right : left;
  }

  #push(input: Input): void {
    const heap = this.#heap;
    let at = heap.push(input) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(input, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = input;
  }

  #pop(): void {
    const last = this.#heap.pop()!;
    if (this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#sink(0);
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const input = heap[from]!;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, input)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = input;
  }
}
