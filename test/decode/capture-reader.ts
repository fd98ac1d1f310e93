/**
 * Frames of a capture file, read in the plainest way: for tests of the decoders, apart from src/source, which is tested by itself.
 * Reads pcap (either byte order, micro and nano) and pcapng (SHB, IDB, EPB, SPB); stops quietly where the file does.
 */
import { readFileSync } from 'node:fs';

export interface TestFrame {
  readonly linkType: number;
  readonly bytes: Uint8Array;
  readonly wireLength: number;
}

export function readFrames(path: string): TestFrame[] {
  const bytes = new Uint8Array(readFileSync(path));
  const view = new DataView(bytes.buffer);
  if (bytes.length < 24) return [];
  return view.getUint32(0) === 0x0a0d0d0a ? readPcapng(bytes, view) : readPcap(bytes, view);
}

function readPcap(bytes: Uint8Array, view: DataView): TestFrame[] {
  const magic = view.getUint32(0, true);
  const little = magic === 0xa1b2c3d4 || magic === 0xa1b23c4d;
  const linkType = view.getUint32(20, little) & 0xffff;
  const frames: TestFrame[] = [];
  for (let at = 24; at + 16 <= bytes.length; ) {
    const captured = view.getUint32(at + 8, little);
    const end = at + 16 + captured;
    if (end > bytes.length) break;
    frames.push({ linkType, bytes: bytes.subarray(at + 16, end), wireLength: view.getUint32(at + 12, little) });
    at = end;
  }
  return frames;
}

function readPcapng(bytes: Uint8Array, view: DataView): TestFrame[] {
  const frames: TestFrame[] = [];
  let little = true;
  let linkTypes: number[] = [];
  let snapLengths: number[] = [];
  for (let at = 0; at + 12 <= bytes.length; ) {
    const type = view.getUint32(at, little);
    if (type === 0x0a0d0d0a) {
      little = view.getUint32(at + 8, true) === 0x1a2b3c4d;
      linkTypes = [];
      snapLengths = [];
    }
    const length = view.getUint32(at + 4, little);
    if (length < 12 || at + length > bytes.length) break;
    if (type === 1) {
      linkTypes.push(view.getUint16(at + 8, little));
      snapLengths.push(view.getUint32(at + 12, little));
    } else if (type === 6) {
      const captured = view.getUint32(at + 20, little);
      const linkType = linkTypes[view.getUint32(at + 8, little)];
      if (linkType === undefined || captured > length - 32) break;
      frames.push({ linkType, bytes: bytes.subarray(at + 28, at + 28 + captured), wireLength: view.getUint32(at + 24, little) });
    } else if (type === 3 && linkTypes.length > 0) {
      const wireLength = view.getUint32(at + 8, little);
      const captured = Math.min(wireLength, length - 16, snapLengths[0]! || length);
      frames.push({ linkType: linkTypes[0]!, bytes: bytes.subarray(at + 12, at + 12 + captured), wireLength });
    }
    at += length;
  }
  return frames;
}
