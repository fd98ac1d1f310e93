/**
 * Where frames come from. A source hands out batches of frames that lie in one block of bytes; nothing is copied per frame.
 * A batch belongs to the source until the next call of `next`.
 */
import type { FrameMemory } from '../decode/lanes.ts';
import type { TimeBase } from '../net/time.ts';

/** An interface as the file, bundle or kernel names it. */
export interface CaptureInterface {
  /** Name, where known (`eth0`); for an `any` capture the device of the capture. */
  readonly name?: string;
  /** DLT / LINKTYPE number. */
  readonly linkType: number;
  /** Snapshot length, 0 unknown. */
  readonly snapLength: number;
  /** What the capture was filtered by, where the file says so. */
  readonly filter?: string;
}

/** Frames that lie in one block, in the order of the file. Structure of arrays: entry i of each describes frame i; only the first `count` are valid. */
export interface FrameBatch {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  count: number;
  /** First byte of the frame in `bytes`. */
  readonly offset: Int32Array;
  readonly capturedLength: Int32Array;
  /** Length on the wire; may exceed 65535 (segmentation offload). */
  readonly wireLength: Int32Array;
  /** Nanoseconds since the time base. */
  readonly timeNs: Float64Array;
  /** Index into `FrameSource.interfaces`. */
  readonly interfaceId: Int32Array;
  /** Which way the file says the frame went: 0 it does not say, 1 in, 2 out. */
  readonly direction?: Uint8Array;
  /** Comments of frames by their place in the batch, where the source was asked to keep them and there are any. */
  readonly comments?: ReadonlyMap<number, readonly string[]> | undefined;
}

/** Something that was lost while reading: it becomes a LostRecord. */
export interface SourceLoss {
  /** `truncated`, `malformed`, `kernel`, `interface`, … */
  readonly source: string;
  readonly count: number;
  readonly exact: boolean;
  readonly atNs: number;
  /** Act, value, wish and state in one sentence. */
  readonly detail: string;
}

/** How far a source is, in bytes of the input as it lies there (packed, where it is packed). */
export interface SourceProgress {
  readonly taken: number;
  /** `undefined` where nobody knows: standard input. */
  readonly size: number | undefined;
}

export interface FrameSource {
  /** As read from the input; grows while reading. Fixed by the first frame unless given. */
  readonly base: TimeBase;
  readonly interfaces: readonly CaptureInterface[];
  /** Names that the input gives to addresses, where its format can. */
  readonly names?: ReadonlyMap<string, readonly string[]>;
  /** The next batch, or `undefined` at the end. */
  next(): FrameBatch | undefined;
  /** Puts further frames into this memory, where they fit, in place of its own. To be called between batches, at most once. */
  useMemory?(memory: FrameMemory): void;
  /** What was lost so far, in the order of happening. A cut or broken file ends with one of these, after everything before the fault was handed out. */
  readonly losses: readonly SourceLoss[];
  /** Is the input itself broken (exit code 2)? */
  readonly malformed: boolean;
  readonly progress?: SourceProgress;
  close(): void;
}

/** A source that goes on until somebody stops it. `next` gives an empty batch where nothing is there yet. */
export interface LiveSource extends FrameSource {
  /** Settles when there is a batch, or when it has ended; `undefined` where that is so already. */
  wait(): Promise<void> | undefined;
  /** Ends it in order: what was captured is still handed out. */
  stop(): void;
}
