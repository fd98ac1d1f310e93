/**
 * The frame of netlink: messages in a buffer as recvmsg() fills it, and the attributes of a message. Headers are in the byte order of the host that wrote them, little-endian
 * where nothing else is said. Source: Linux include/uapi/linux/netlink.h.
 */
import { formatV4, formatV6 } from './address.ts';

export const NLMSG_HEADER_BYTES = 16;
const ATTRIBUTE_HEADER_BYTES = 4;
/** Nested and byte-order flags above the type. */
const ATTRIBUTE_TYPE_MASK = 0x3fff;

export interface NetlinkMessage {
  readonly type: number;
  /** What follows the header. */
  readonly body: Uint8Array;
}

/** The messages of a buffer, in order, the end of a dump (type 3) among them. Stops where a length does not hold. */
export function* netlinkMessages(bytes: Uint8Array, littleEndian = true): Generator<NetlinkMessage> {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at + NLMSG_HEADER_BYTES <= bytes.length) {
    const length = data.getUint32(at, littleEndian);
    if (length < NLMSG_HEADER_BYTES || at + length > bytes.length) return;
    yield { type: data.getUint16(at + 4, littleEndian), body: bytes.subarray(at + NLMSG_HEADER_BYTES, at + length) };
    at += (length + 3) & ~3;
  }
}

/** The attributes of a block by their type: the last of each. Stops at the first that is cut. */
export function netlinkAttributes(bytes: Uint8Array, littleEndian = true): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at + ATTRIBUTE_HEADER_BYTES <= bytes.length) {
    const length = data.getUint16(at, littleEndian);
    if (length < ATTRIBUTE_HEADER_BYTES || at + length > bytes.length) break;
    found.set(data.getUint16(at + 2, littleEndian) & ATTRIBUTE_TYPE_MASK, bytes.subarray(at + ATTRIBUTE_HEADER_BYTES, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

/** Canonical text of an address of 4 or 16 bytes; `undefined` for anything else. */
export function netlinkAddress(bytes: Uint8Array | undefined): string | undefined {
  if (bytes === undefined) return undefined;
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length === 4) return formatV4(data.getInt32(0));
  if (bytes.length === 16) return formatV6(data.getInt32(0), data.getInt32(4), data.getInt32(8), data.getInt32(12));
  return undefined;
}
