/**
 * The common frame, decoded a batch at a time: Ethernet (with at most one VLAN tag) or Linux cooked, then IPv4 without options or IPv6 without extension headers, whole, then TCP or UDP
 * with everything that their headers say. Such a frame becomes a lane of numbers, the same that decode.ts would give it; every other frame is left to decode.ts.
 *
 * A lane is a row of words in one array. Batches are there so that the flow table can ask memory for all the slots of a batch before it needs the first.
 */
import { LINKTYPE_ETHERNET, LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2 } from './link-type.ts';
import { IPPROTO_TCP, IPPROTO_UDP, type Packet } from './packet.ts';

/** Frames in a batch. */
export const LANES = 64;
export const LANE_WORDS = 20;

/** Source address, then destination: four words each, of IPv4 only the last is valid. */
export const L_SRC = 0;
export const L_DST = 4;
/** Source port in the upper half, destination port in the lower. */
export const L_PORTS = 8;
/** Protocol number | {@link LANE_IPV6}; -1 where the frame is left to decode.ts. */
export const L_KIND = 9;
export const L_IP_LENGTH = 10;
export const L_PAYLOAD = 11;
/** TCP flags (9 bits) | {@link LANE_HAS_TCP} | window << 16. */
export const L_TCP = 12;
export const L_SEQ = 13;
export const L_ACK = 14;
export const L_IFINDEX = 15;
export const L_PACKET_TYPE = 16;
/** For the flow table: where its hash is kept, and the interface that it counts to. */
export const L_HASH = 17;
export const L_INTERFACE = 18;

export const LANE_IPV6 = 1 << 8;
export const LANE_HAS_TCP = 1 << 15;

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const ETHERTYPE_VLAN = 0x8100;
const ETHERNET_HEADER_LEN = 14;
const VLAN_TAG_LEN = 4;
const SLL_HEADER_LEN = 16;
const SLL2_HEADER_LEN = 20;
const ARPHRD_ETHER = 1;
const ARPHRD_LOOPBACK = 772;
const IPV4_HEADER_LEN = 20;
const IPV6_HEADER_LEN = 40;
const TCP_HEADER_LEN = 20;
const UDP_HEADER_LEN = 8;
/** More fragments, or an offset. */
const FRAGMENT = 0x3fff;
const PORT_VXLAN = 4789;
const PORT_VXLAN_LINUX = 8472;
const PORT_GENEVE = 6081;

/** A block of frames as sources hand it out. */
export interface Frames {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly offset: Int32Array;
  readonly capturedLength: Int32Array;
  readonly wireLength: Int32Array;
  readonly timeNs: Float64Array;
  readonly interfaceId: Int32Array;
}

/** Memory for a block of frames, for a source to read into: whoever gave it finds the frames where it wants them. */
export type FrameMemory = Frames;

export class Lanes {
  /** Lane i begins at `i * LANE_WORDS`. The one behind the batch is for a single packet. */
  readonly words: Int32Array = new Int32Array((LANES + 1) * LANE_WORDS);
  readonly timeNs: Float64Array = new Float64Array(LANES + 1);

  /** Fills lanes 0 to count - 1 from the frames at `from`; all of them lie in `view`. */
  read(frames: Frames, from: number, count: number, linkTypes: Int32Array): void {
    const { view, offset, capturedLength, wireLength, timeNs, interfaceId } = frames;
    const { words } = this;
    const times = this.timeNs;
    const size = view.byteLength;
    for (let i = 0; i < count; i++) {
      const frame = from + i;
      const captured = capturedLength[frame]!;
      const wire = wireLength[frame]!;
      const start = offset[frame]!;
      times[i] = timeNs[frame]!;
      const l = i * LANE_WORDS;
      words[l + L_KIND] = -1;
      if (start + captured <= size)
        readFrame(words, l, view, linkTypes[interfaceId[frame]!]!, start, start + captured, start + (wire > captured ? wire : captured));
    }
  }

  /** Fills the lane behind the batch from a packet, and returns where it begins. */
  readPacket(packet: Packet): number {
    const { words } = this;
    const l = LANES * LANE_WORDS;
    this.timeNs[LANES] = packet.timeNs;
    words[l] = packet.src0;
    words[l + 1] = packet.src1;
    words[l + 2] = packet.src2;
    words[l + 3] = packet.src3;
    words[l + 4] = packet.dst0;
    words[l + 5] = packet.dst1;
    words[l + 6] = packet.dst2;
    words[l + 7] = packet.dst3;
    words[l + L_PORTS] = (packet.srcPort << 16) | packet.dstPort;
    words[l + L_KIND] = packet.protocol | (packet.ipVersion === 6 ? LANE_IPV6 : 0);
    words[l + L_IP_LENGTH] = packet.ipLength;
    words[l + L_PAYLOAD] = packet.payloadLength;
    words[l + L_TCP] = packet.tcpFlags | (packet.hasTcp ? LANE_HAS_TCP : 0) | (packet.window << 16);
    words[l + L_SEQ] = packet.seq;
    words[l + L_ACK] = packet.ack;
    words[l + L_IFINDEX] = packet.ifindex;
    words[l + L_PACKET_TYPE] = packet.packetType;
    return l;
  }
}

/** Fills one lane; its kind stays -1 unless the frame is a common one, sound and complete in its headers. */
function readFrame(words: Int32Array, l: number, view: DataView, linkType: number, start: number, limit: number, wireEnd: number): void {
  let at: number;
  let etherType: number;
  if (linkType === LINKTYPE_ETHERNET) {
    at = start + ETHERNET_HEADER_LEN;
    if (limit - at < VLAN_TAG_LEN) return;
    etherType = view.getUint16(at - 2);
    if (etherType === ETHERTYPE_VLAN) {
      etherType = view.getUint16(at + 2);
      at += VLAN_TAG_LEN;
    }
    words[l + L_IFINDEX] = 0;
    words[l + L_PACKET_TYPE] = -1;
  } else if (linkType === LINKTYPE_LINUX_SLL2) {
    at = start + SLL2_HEADER_LEN;
    if (limit < at || !isOrdinary(view.getUint16(start + 8))) return;
    etherType = view.getUint16(start);
    words[l + L_IFINDEX] = view.getInt32(start + 4);
    words[l + L_PACKET_TYPE] = view.getUint8(start + 10);
  } else if (linkType === LINKTYPE_LINUX_SLL) {
    at = start + SLL_HEADER_LEN;
    if (limit < at || !isOrdinary(view.getUint16(start + 2))) return;
    etherType = view.getUint16(start + 14);
    words[l + L_IFINDEX] = 0;
    words[l + L_PACKET_TYPE] = view.getUint16(start);
  } else return;

  let protocol: number;
  let length: number;
  let kind = 0;
  let transport: number;
  if (etherType === ETHERTYPE_IPV4) {
    transport = at + IPV4_HEADER_LEN;
    if (limit < transport) return;
    const first = view.getInt32(at);
    if (first >>> 24 !== 0x45 || (view.getInt32(at + 4) & FRAGMENT) !== 0) return;
    length = first & 0xffff;
    protocol = (view.getInt32(at + 8) >> 16) & 0xff;
    words[l + L_SRC + 3] = view.getInt32(at + 12);
    words[l + L_DST + 3] = view.getInt32(at + 16);
  } else if (etherType === ETHERTYPE_IPV6) {
    transport = at + IPV6_HEADER_LEN;
    if (limit < transport) return;
    const first = view.getInt32(at + 4);
    if (view.getUint8(at) >> 4 !== 6 || first >>> 16 === 0) return;
    length = IPV6_HEADER_LEN + (first >>> 16);
    protocol = (first >>> 8) & 0xff;
    kind = LANE_IPV6;
    words[l] = view.getInt32(at + 8);
    words[l + 1] = view.getInt32(at + 12);
    words[l + 2] = view.getInt32(at + 16);
    words[l + 3] = view.getInt32(at + 20);
    words[l + 4] = view.getInt32(at + 24);
    words[l + 5] = view.getInt32(at + 28);
    words[l + 6] = view.getInt32(at + 32);
    words[l + 7] = view.getInt32(at + 36);
  } else return;

  const end = at + length;
  if (end > wireEnd) return;
  const captured = (end < limit ? end : limit) - transport;
  if (protocol === IPPROTO_TCP) {
    if (captured < TCP_HEADER_LEN) return;
    const fourth = view.getInt32(transport + 12);
    const headerLength = (fourth >>> 28) << 2;
    if (headerLength < TCP_HEADER_LEN || headerLength > captured) return;
    words[l + L_SEQ] = view.getInt32(transport + 4);
    words[l + L_ACK] = view.getInt32(transport + 8);
    words[l + L_TCP] = ((fourth >> 16) & 0x1ff) | LANE_HAS_TCP | (fourth << 16);
    words[l + L_PAYLOAD] = end - transport - headerLength;
    words[l + L_PORTS] = view.getInt32(transport);
  } else if (protocol === IPPROTO_UDP) {
    if (captured < UDP_HEADER_LEN || view.getUint16(transport + 4) !== end - transport) return;
    const ports = view.getInt32(transport);
    const port = ports & 0xffff;
    if (port === PORT_VXLAN || port === PORT_VXLAN_LINUX || port === PORT_GENEVE) return;
    words[l + L_TCP] = 0;
    words[l + L_PAYLOAD] = end - transport - UDP_HEADER_LEN;
    words[l + L_PORTS] = ports;
  } else return;
  words[l + L_IP_LENGTH] = length;
  words[l + L_KIND] = protocol | kind;
}

/** Hardware types whose protocol field is an EtherType for sure. */
function isOrdinary(hardwareType: number): boolean {
  return hardwareType === ARPHRD_ETHER || hardwareType === ARPHRD_LOOPBACK;
}
