/** Writes classic capture files for tests, from the description of the format alone. */
export interface PcapRecord {
  seconds: number;
  fraction: number;
  data: Uint8Array;
  /** Length on the wire; that of the data unless told. */
  wire?: number;
  /** What the header claims to be captured; the data's length unless told. */
  captured?: number;
}

export interface PcapFile {
  little?: boolean;
  magic?: number;
  version?: [number, number];
  snapLength?: number;
  linkType?: number;
  records: PcapRecord[];
}

export const MICRO = 0xa1b2c3d4;
export const NANO = 0xa1b23c4d;
export const KUZNETZOV = 0xa1b2cd34;

export function writePcap({
  little = true,
  magic = MICRO,
  version = [2, 4],
  snapLength = 262_144,
  linkType = 1,
  records,
}: PcapFile): Uint8Array {
  const headerLength = magic === KUZNETZOV ? 24 : 16;
  const length = 24 + records.reduce((sum, record) => sum + headerLength + record.data.length, 0);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic, little);
  view.setUint16(4, version[0], little);
  view.setUint16(6, version[1], little);
  view.setUint32(16, snapLength, little);
  view.setUint32(20, linkType, little);
  let at = 24;
  for (const { seconds, fraction, data, wire = data.length, captured = data.length } of records) {
    view.setUint32(at, seconds, little);
    view.setUint32(at + 4, fraction, little);
    view.setUint32(at + 8, captured, little);
    view.setUint32(at + 12, wire, little);
    bytes.set(data, at + headerLength);
    at += headerLength + data.length;
  }
  return bytes;
}

/** A frame of so many bytes, each of them telling its place. */
export function frame(length: number, first = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (first + i) & 255);
}
