/** A frame as the probe sends it. Source: docs/probe.md, FRAMES. */
import type { Bytes } from '../../decode/frames.ts';

/** @param timeNs since `epochSeconds` @param wireLength of the whole packet, where it was cut */
export function probeFrame(epochSeconds: number, timeNs: number, bytes: Bytes | Uint8Array, wireLength = bytes.length): Uint8Array {
  const payload = new Uint8Array(16 + bytes.length);
  const view = new DataView(payload.buffer);
  const seconds = Math.floor(timeNs / 1e9);
  view.setUint32(0, epochSeconds + seconds, true);
  view.setUint32(4, timeNs - seconds * 1e9, true);
  view.setUint32(8, bytes.length, true);
  view.setUint32(12, wireLength, true);
  payload.set(bytes, 16);
  return payload;
}
