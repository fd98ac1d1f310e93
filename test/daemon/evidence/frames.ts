/** FRAMES payloads as the probe sends them (docs/probe.md), and packets read back from a recording. */
import { openCapture } from '../../../src/source/open.ts';

export interface MadeFrame {
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly bytes: Uint8Array;
  readonly wireLength?: number;
}

export function framesPayload(frames: readonly MadeFrame[]): Uint8Array {
  return Buffer.concat(
    frames.map(({ seconds, nanoseconds, bytes, wireLength }) => {
      const head = Buffer.alloc(16);
      head.writeUInt32LE(seconds, 0);
      head.writeUInt32LE(nanoseconds, 4);
      head.writeUInt32LE(bytes.length, 8);
      head.writeUInt32LE(wireLength ?? bytes.length, 12);
      return Buffer.concat([head, bytes]);
    }),
  );
}

/** Frames that carry their number, `length` bytes long. */
export function numbered(from: number, count: number, length = 100, seconds = 1_700_000_000): MadeFrame[] {
  return Array.from({ length: count }, (_, i) => {
    const bytes = Buffer.alloc(length);
    bytes.writeUInt32BE(from + i, length - 4);
    return { seconds, nanoseconds: from + i, bytes, wireLength: length + 5 };
  });
}

export interface ReadBack {
  readonly numbers: number[];
  readonly stamps: string[];
  readonly wireLengths: number[];
  readonly losses: { source: string; count: number; exact: boolean }[];
  readonly linkTypes: number[];
  readonly filter: string | undefined;
}

/** What our own reader finds in a capture. */
export function readBack(path: string): ReadBack {
  const source = openCapture(path);
  const numbers: number[] = [];
  const stamps: string[] = [];
  const wireLengths: number[] = [];
  for (let batch = source.next(); batch !== undefined; batch = source.next())
    for (let i = 0; i < batch.count; i++) {
      numbers.push(batch.view.getUint32(batch.offset[i]! + batch.capturedLength[i]! - 4));
      stamps.push(`${source.base.epochSeconds}+${batch.timeNs[i]}`);
      wireLengths.push(batch.wireLength[i]!);
    }
  source.close();
  return {
    numbers,
    stamps,
    wireLengths,
    losses: source.losses.map(({ source: from, count, exact }) => ({ source: from, count, exact })),
    linkTypes: source.interfaces.map(({ linkType }) => linkType),
    filter: source.interfaces[0]?.filter,
  };
}
