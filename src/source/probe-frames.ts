/**
 * Frames as the probe sends them (docs/probe.md, FRAMES), as batches that the flow table takes: the bytes stay where they are, only the headers between them are read.
 */
import { LINKTYPE_LINUX_SLL2 } from '../decode/link-type.ts';
import { type TimeBase, toNs } from '../net/time.ts';
import { FrameArrays } from './frame-arrays.ts';
import { ProbeProtocolError } from './probe-protocol.ts';

/** Link types by interface: the probe's captures have one, LINKTYPE_LINUX_SLL2, and each frame names its interface itself. */
export const PROBE_LINK_TYPES: Int32Array = Int32Array.of(LINKTYPE_LINUX_SLL2);

const FRAME_HEADER_BYTES = 16;
const BATCH_BYTES = 256 * 1024;

export class ProbeFrames {
  readonly #base: TimeBase;
  readonly #batch = new FrameArrays(BATCH_BYTES);

  constructor(base: TimeBase) {
    this.#base = base;
  }

  /**
   * The frames of one FRAMES payload, in the order of their arrival, a batch at a time; a batch is valid until the next one.
   *
   * @throws {ProbeProtocolError} where a frame runs past the end
   */
  *read(payload: Uint8Array): Generator<FrameArrays> {
    const batch = this.#batch;
    const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
    batch.bytes = payload;
    batch.view = view;
    batch.count = 0;
    let at = 0;
    while (at < payload.length) {
      const left = payload.length - at - FRAME_HEADER_BYTES;
      const captured = left < 0 ? 0 : view.getUint32(at + 8, true);
      if (left < captured)
        throw new ProbeProtocolError(`Cannot read the frame at byte ${at}: it runs past the ${payload.length} bytes of its batch`);
      const i = batch.count++;
      batch.timeNs[i] = toNs(this.#base, view.getUint32(at, true), view.getUint32(at + 4, true));
      batch.capturedLength[i] = captured;
      batch.wireLength[i] = view.getUint32(at + 12, true) | 0;
      batch.offset[i] = at + FRAME_HEADER_BYTES;
      batch.interfaceId[i] = 0;
      at += FRAME_HEADER_BYTES + captured;
      if (batch.count === batch.capacity) {
        yield batch;
        batch.count = 0;
      }
    }
    if (batch.count > 0) yield batch;
  }
}
