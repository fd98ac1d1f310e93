/**
 * Where a flow table lies, and the loop that works on it: slots and index in one memory of WebAssembly, together with the block that frames are read into, so that
 * native/flow-loop/flow-loop.c can count common frames. Such a memory grows in place; its pages are taken from the system when they are first written.
 *
 * It is a shared one, although nobody shares it: to grow one that is not voids its views, and after the first such accident V8 asks before every access to any typed
 * array whether it happened again. Where there is no room for the addresses (ulimit -v), ordinary arrays take its place, growth copies them, and there is no loop; nor is there one
 * on processors that lack the vector instructions of WebAssembly.
 */
import type { FrameMemory } from '../decode/lanes.ts';
import { flowLoopWasm } from './flow-loop-wasm.ts';
import { SLOT_BYTES } from './slot.ts';

/** Layout of the memory in bytes, as flow-loop.c has it. */
const HEADER = 0x20000;
const LINK_TYPES = 0x30000;
const FRAMES = 0xa0000;
const BLOCK = 0x100000;
const INDEX = 0x200000;
const SLOTS = 0x20200000;
export const LINK_TYPES_MOST = 65_536;
const FRAMES_MOST = 4096;
const BLOCK_BYTES = 256 * 1024;

/** Words of the header. */
export const H_COUNT = 0;
export const H_ROOM = 1;
export const H_MASK = 2;
export const H_SEED = 3;
export const H_FOLLOW_ALL = 4;
export const H_WATCH = 5;
export const H_CURSOR = 6;
export const H_END = 7;
export const H_LANE = 8;
export const H_LANES_FILLED = 9;
export const H_FRAME = 10;
export const H_SLOT = 11;
export const H_DIRECTION = 12;
export const H_IS_NEW = 13;
export const H_COUNTED = 14;
/** Two words: a double. */
const H_WIRE_BYTES = 16;
const HEADER_WORDS = 18;

/** What the loop returns; flow-loop.c says what each means. */
export const LOOP_DONE = 0;
export const LOOP_LEFT = 1;
export const LOOP_GROW_SLOTS = 3;
export const LOOP_GROW_INDEX = 4;

const PAGE_BYTES = 65_536;
/** 3 MiB: a whole number of slots and of pages. */
const STEP_PAGES = 48;
/** All that 32 bits can address. */
const MOST_PAGES = 65_536;
/** Twice the slots that fit before the index grows. */
const FIRST_ENTRIES = 2048;

/** The part of WebAssembly that is used here: https://webassembly.github.io/spec/js-api/. */
interface GrowingMemory {
  readonly buffer: SharedArrayBuffer;
  grow(pages: number): number;
}

interface WebAssemblyParts {
  readonly Memory: new (descriptor: { initial: number; maximum: number; shared: true }) => GrowingMemory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: { env: { memory: GrowingMemory } },
  ) => { readonly exports: { readonly run: () => number } };
}

const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WebAssemblyParts };

/** The loop, the words it is told and tells things by, and what it reads frames from. */
export interface FlowLoop {
  readonly run: () => number;
  readonly header: Int32Array;
  /** One double: bytes on the wire of the frames that were counted. */
  readonly wireBytes: Float64Array;
  readonly linkTypes: Int32Array;
  readonly frames: FrameMemory;
}

export class LoopMemory {
  words: Int32Array;
  doubles: Float64Array;
  /** Slots that fit. */
  slots = 0;
  /** Of the table: pairs of (slot + 1, hash). */
  index: Int32Array;
  readonly loop: FlowLoop | undefined;
  readonly #memory: GrowingMemory | undefined;

  /**
   * @param plain ordinary arrays, without the loop
   * @param slots for so many flows at first; of ordinary arrays only
   */
  constructor(plain = false, slots = Math.floor((STEP_PAGES * PAGE_BYTES) / SLOT_BYTES)) {
    this.#memory = plain ? undefined : reserve();
    this.loop = this.#memory === undefined ? undefined : makeLoop(this.#memory);
    const buffer = this.#memory?.buffer ?? new ArrayBuffer(slots * SLOT_BYTES);
    const from = this.#memory === undefined ? 0 : SLOTS;
    this.words = new Int32Array(buffer, from);
    this.doubles = new Float64Array(buffer, from);
    this.slots = Math.floor(this.words.byteLength / SLOT_BYTES);
    this.index = this.#memory === undefined ? new Int32Array(FIRST_ENTRIES * 2) : new Int32Array(buffer, INDEX, FIRST_ENTRIES * 2);
  }

  /** Makes room for more slots, all zero; views that were taken before do not reach them. @throws {RangeError} when the system or 32 bits give no more */
  growSlots(): void {
    const held = this.words.byteLength;
    let buffer: ArrayBuffer | SharedArrayBuffer;
    if (this.#memory !== undefined) {
      // A sixteenth at a time: few steps, and little that is taken and not used.
      const more = STEP_PAGES * Math.max(1, Math.round(held / 16 / (STEP_PAGES * PAGE_BYTES)));
      const left = MOST_PAGES - this.#memory.buffer.byteLength / PAGE_BYTES;
      if (left === 0) throw new RangeError(`Cannot keep more flows: ${this.slots} fill all that can be addressed`);
      this.#memory.grow(Math.min(more, left));
      buffer = this.#memory.buffer;
    } else {
      buffer = new ArrayBuffer(held * 2);
      new Int32Array(buffer).set(this.words);
    }
    const from = this.#memory === undefined ? 0 : SLOTS;
    this.words = new Int32Array(buffer, from);
    this.doubles = new Float64Array(buffer, from);
    this.slots = Math.floor(this.words.byteLength / SLOT_BYTES);
  }

  /** An empty index of twice the entries; returns what the old one held. */
  growIndex(): Int32Array {
    const held = this.index;
    const entries = held.length;
    if (this.#memory === undefined) {
      this.index = new Int32Array(entries * 2);
      return held;
    }
    if (INDEX + entries * 8 > SLOTS) throw new RangeError(`Cannot keep more flows: ${entries / 4} fill the index`);
    const old = held.slice();
    held.fill(0);
    this.index = new Int32Array(this.#memory.buffer, INDEX, entries * 2);
    return old;
  }
}

function reserve(): GrowingMemory | undefined {
  try {
    return new WebAssembly.Memory({ initial: SLOTS / PAGE_BYTES + STEP_PAGES, maximum: MOST_PAGES, shared: true });
  } catch {
    return undefined;
  }
}

let compiled: object | undefined;

function compile(): object | undefined {
  try {
    return new WebAssembly.Module(Buffer.from(flowLoopWasm, 'base64'));
  } catch {
    return undefined;
  }
}

function makeLoop(memory: GrowingMemory): FlowLoop | undefined {
  compiled ??= compile();
  if (compiled === undefined) return undefined;
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
  const { buffer } = memory;
  const array = (i: number) => new Int32Array(buffer, FRAMES + i * 4 * FRAMES_MOST, FRAMES_MOST);
  return {
    run: exports.run,
    header: new Int32Array(buffer, HEADER, HEADER_WORDS),
    wireBytes: new Float64Array(buffer, HEADER + 4 * H_WIRE_BYTES, 1),
    linkTypes: new Int32Array(buffer, LINK_TYPES, LINK_TYPES_MOST),
    frames: {
      bytes: new Uint8Array(buffer, BLOCK, BLOCK_BYTES),
      view: new DataView(buffer, BLOCK, BLOCK_BYTES),
      offset: array(0),
      capturedLength: array(1),
      wireLength: array(2),
      interfaceId: array(3),
      timeNs: new Float64Array(buffer, FRAMES + 16 * FRAMES_MOST, FRAMES_MOST),
    },
  };
}
