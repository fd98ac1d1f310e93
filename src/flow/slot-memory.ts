/**
 * Where the slots of a flow table lie: one block that grows in place. WebAssembly's memory is the only one that JavaScript can let grow without copying it; its pages are
 * taken from the system when they are first written. It is a shared one, although nobody shares it: to grow one that is not voids its views, and after the first such
 * accident V8 asks before every access to any typed array whether it happened again.
 */
import { SLOT_BYTES } from './slot.ts';

const PAGE_BYTES = 65_536;
/** 3 MiB: a whole number of slots and of pages. */
const STEP_PAGES = 48;
/** All that 32 bits can address. */
const MOST_PAGES = 65_536;

/** The part of WebAssembly.Memory that is used here: https://webassembly.github.io/spec/js-api/#memories. */
interface GrowingMemory {
  readonly buffer: SharedArrayBuffer;
  grow(pages: number): number;
}

type MemoryClass = new (descriptor: { initial: number; maximum: number; shared: true }) => GrowingMemory;

export class SlotMemory {
  words: Int32Array;
  doubles: Float64Array;
  /** Slots that fit. */
  slots = 0;
  #memory: GrowingMemory | undefined;

  constructor() {
    this.#memory = reserve();
    const buffer = this.#memory?.buffer ?? new ArrayBuffer(STEP_PAGES * PAGE_BYTES);
    this.words = new Int32Array(buffer);
    this.doubles = new Float64Array(buffer);
    this.slots = Math.floor(buffer.byteLength / SLOT_BYTES);
  }

  /** Makes room for more slots, all zero; views that were taken before do not reach them. @throws {RangeError} when the system or 32 bits give no more */
  grow(): void {
    const held = this.words.byteLength;
    // A sixteenth at a time: few steps, and little that is taken and not used.
    const more = STEP_PAGES * Math.max(1, Math.round(held / 16 / (STEP_PAGES * PAGE_BYTES)));
    let buffer: ArrayBuffer | SharedArrayBuffer;
    if (this.#memory !== undefined) {
      this.#memory.grow(Math.min(more, MOST_PAGES - held / PAGE_BYTES));
      buffer = this.#memory.buffer;
      if (buffer.byteLength === held)
        throw new RangeError(`Cannot keep more flows: ${held / SLOT_BYTES} fill the ${held} bytes that can be addressed`);
    } else {
      buffer = new ArrayBuffer(held * 2);
      new Int32Array(buffer).set(this.words);
    }
    this.words = new Int32Array(buffer);
    this.doubles = new Float64Array(buffer);
    this.slots = Math.floor(buffer.byteLength / SLOT_BYTES);
  }
}

/** Address space for the largest table. Where a limit forbids it (ulimit -v) there is none, and a table that grows is copied. */
function reserve(): GrowingMemory | undefined {
  const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: { readonly Memory: MemoryClass } };
  try {
    return new WebAssembly.Memory({ initial: STEP_PAGES, maximum: MOST_PAGES, shared: true });
  } catch {
    return undefined;
  }
}
