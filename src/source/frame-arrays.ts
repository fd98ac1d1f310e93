/** The batch that readers fill: fixed arrays, made once for a source. */
import type { FrameMemory } from '../decode/lanes.ts';
import type { FrameBatch } from './source.ts';

/** One frame in a batch for each so many bytes of the block: small frames fill the batch, large ones the block. */
const BLOCK_BYTES_A_FRAME = 64;

/** The longest frame that is taken whatever the file says of itself: libpcap's MAXIMUM_SNAPLEN. */
export const MAXIMUM_SNAPLEN = 262_144;

/** The longest frame that is taken where the file says that it keeps more than {@link MAXIMUM_SNAPLEN}. */
export const LARGEST_FRAME = 16 * 1024 * 1024;

export class FrameArrays implements FrameBatch {
  bytes: Uint8Array = new Uint8Array(0);
  view: DataView = new DataView(new ArrayBuffer(0));
  count = 0;
  readonly capacity: number;
  readonly offset: Int32Array;
  readonly capturedLength: Int32Array;
  readonly wireLength: Int32Array;
  readonly timeNs: Float64Array;
  readonly interfaceId: Int32Array;
  readonly direction: Uint8Array;
  comments: Map<number, string[]> | undefined;

  /** @param memory arrays of somebody else to fill */
  constructor(blockLength: number, memory?: FrameMemory) {
    this.capacity = memory?.offset.length ?? Math.ceil(blockLength / BLOCK_BYTES_A_FRAME);
    this.offset = memory?.offset ?? new Int32Array(this.capacity);
    this.capturedLength = memory?.capturedLength ?? new Int32Array(this.capacity);
    this.wireLength = memory?.wireLength ?? new Int32Array(this.capacity);
    this.timeNs = memory?.timeNs ?? new Float64Array(this.capacity);
    this.interfaceId = memory?.interfaceId ?? new Int32Array(this.capacity);
    this.direction = new Uint8Array(this.capacity);
  }
}

/** How long a captured frame may be, by the snapshot length that the file tells (0 unknown). */
export function frameLimit(snapLength: number): number {
  return Math.max(MAXIMUM_SNAPLEN, Math.min(snapLength, LARGEST_FRAME));
}
