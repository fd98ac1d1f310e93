/** Reads a source to its end into plain values, as a test wants to compare them. */
import { BytesFeed } from '../../src/source/byte-feed.ts';
import { type OpenOptions, openCapture } from '../../src/source/open.ts';
import type { FrameSource } from '../../src/source/source.ts';

export interface ReadFrame {
  /** Since the epoch. */
  ns: bigint;
  wire: number;
  data: string;
  interfaceId: number;
  direction: number;
  comments?: readonly string[];
}

export function drain(source: FrameSource): ReadFrame[] {
  const frames: ReadFrame[] = [];
  for (let batch = source.next(); batch !== undefined; batch = source.next()) {
    const base = BigInt(source.base.epochSeconds) * 1_000_000_000n;
    for (let i = 0; i < batch.count; i++) {
      const at = batch.offset[i]!;
      const comments = batch.comments?.get(i);
      frames.push({
        ns: base + BigInt(batch.timeNs[i]!),
        wire: batch.wireLength[i]!,
        data: Buffer.from(batch.bytes.subarray(at, at + batch.capturedLength[i]!)).toString('hex'),
        interfaceId: batch.interfaceId[i]!,
        direction: batch.direction?.[i] ?? 0,
        ...(comments === undefined ? {} : { comments }),
      });
    }
  }
  return frames;
}

/** Opens bytes as if they were the file "test". */
export function openBytes(bytes: Uint8Array, options: OpenOptions = {}): FrameSource {
  return openCapture(new BytesFeed(bytes, 'test'), options);
}

export function readBytes(bytes: Uint8Array, options: OpenOptions = {}): { frames: ReadFrame[]; source: FrameSource } {
  const source = openBytes(bytes, options);
  const frames = drain(source);
  source.close();
  return { frames, source };
}
