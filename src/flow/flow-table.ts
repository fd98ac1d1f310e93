/**
 * The flow table: packets in, counted flows out. Keyed by the 5-tuple on the wire, both directions in one slot of typed arrays.
 *
 * This is the inner loop behind one interface: `observe(packet)` finds or makes the slot, counts, follows TCP, and returns the slot's number.
 * Slots are numbered in the order of arrival and never move; a tuple that is used again gets a new slot.
 *
 * Source: RFC 9293 (sequence numbers, flags); idle times follow Linux nf_conntrack's defaults (udp 30 s, udp stream 120 s, icmp 30 s).
 */
import { IPPROTO_TCP, IPPROTO_UDP, type Packet, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../decode/packet.ts';
import {
  D_BYTES_A,
  D_FIRST,
  D_HANDSHAKE_ACK,
  D_HOLE,
  D_LAST,
  D_PACKETS_A,
  D_PACKETS_B,
  D_SYN,
  D_SYN_ACK,
  FILE_INTERFACE,
  M_IPV6,
  M_ISN_A,
  M_MANY_INTERFACES,
  M_NEXT_A,
  M_PAYLOAD_A,
  M_SYN_A,
  M_SYN_ACK_A,
  M_SYN_ACK_B,
  M_SYN_B,
  SLOT_BYTES,
  SLOT_DOUBLES,
  SLOT_WORDS,
  W_ACK_A,
  W_ADDR_A,
  W_ADDR_B,
  W_HOLE_A,
  W_HOLE_END_A,
  W_INTERFACE,
  W_ISN_A,
  W_META,
  W_NEXT_A,
  W_OTHER_HALF,
  W_OUT_OF_ORDER,
  W_PORTS,
  W_RETRANSMISSIONS,
  W_TCP_FLAGS,
  W_ZERO_WINDOWS,
} from './slot.ts';

const NS_PER_S = 1e9;
const UDP_UNREPLIED_NS = 30 * NS_PER_S;
const UDP_STREAM_NS = 120 * NS_PER_S;
const OTHER_IDLE_NS = 30 * NS_PER_S;
/** A segment that fills a hole this soon after it was noticed was reordered, not lost (the same 3 ms that Wireshark takes). */
const REORDER_NS = 3e6;

const INITIAL_SLOTS = 1024;

/** Both FINs, or a RST from either side. */
function ended(flags: number): boolean {
  return (flags & (TCP_RST | (TCP_RST << 8))) !== 0 || (flags & (TCP_FIN | (TCP_FIN << 8))) === (TCP_FIN | (TCP_FIN << 8));
}

export class FlowTable {
  /** Number of slots in use. */
  count = 0;
  words: Int32Array;
  doubles: Float64Array;
  /** Direction of the packet observed last: 0 from A, 1 from B. */
  direction = 0;
  /** Was the slot made for the packet observed last? */
  isNew = false;

  #slots = INITIAL_SLOTS;
  /** Open addressing, linear probing, at most half full: pairs of (slot + 1, hash). */
  #index: Int32Array;
  #mask: number;
  readonly #seed: number;

  /** @param seed of the hash: constant in a replay so that the same input gives the same order; random in a daemon, against crafted collisions */
  constructor(seed = 0x2545f491) {
    this.#seed = seed | 0;
    const buffer = new ArrayBuffer(INITIAL_SLOTS * SLOT_BYTES);
    this.words = new Int32Array(buffer);
    this.doubles = new Float64Array(buffer);
    this.#index = new Int32Array(INITIAL_SLOTS * 4);
    this.#mask = INITIAL_SLOTS * 2 - 1;
  }

  /** The slot in which this packet's flow is kept, or -1; counts nothing. `direction` is set as by {@link observe}. */
  find(packet: Packet): number {
    const entry = this.#lookup(packet, this.#hash(packet), packet.srcPort, packet.dstPort);
    return entry < 0 ? -1 : this.#index[entry << 1]! - 1;
  }

  /**
   * Counts the packet to its flow, which is made if there is none.
   *
   * @param packet with `ipVersion` 4 or 6
   * @param interfaceId of the file, used where the packet carries no ifindex
   * @returns the slot's number; `direction` and `isNew` tell more
   */
  observe(packet: Packet, interfaceId: number): number {
    const hash = this.#hash(packet);
    const entry = this.#lookup(packet, hash, packet.srcPort, packet.dstPort);
    const at = packet.ifindex !== 0 ? packet.ifindex : FILE_INTERFACE | interfaceId;
    let slot: number;
    if (entry < 0) {
      slot = this.#create(packet, hash, at);
      this.#place(hash, slot);
    } else {
      slot = this.#index[entry << 1]! - 1;
      if (this.#isAnother(packet, slot)) {
        slot = this.#create(packet, hash, at);
        this.#index[entry << 1] = slot + 1;
      } else this.isNew = false;
    }
    const w = slot * SLOT_WORDS;
    const d = slot * SLOT_DOUBLES;
    const { words, doubles, direction } = this;
    if (packet.timeNs > doubles[d + D_LAST]!) doubles[d + D_LAST] = packet.timeNs;
    doubles[d + D_PACKETS_A + direction] = doubles[d + D_PACKETS_A + direction]! + 1;
    doubles[d + D_BYTES_A + direction] = doubles[d + D_BYTES_A + direction]! + packet.ipLength;
    if (packet.payloadLength > 0) words[w + W_META] = words[w + W_META]! | (M_PAYLOAD_A << direction);
    if (words[w + W_INTERFACE] !== at) {
      // The same packet seen on a second interface (veth and bridge of a node) says nothing new about TCP.
      words[w + W_META] = words[w + W_META]! | M_MANY_INTERFACES;
      if (packet.protocol === IPPROTO_TCP) words[w + W_TCP_FLAGS] = words[w + W_TCP_FLAGS]! | (packet.tcpFlags << (direction << 3));
    } else if (packet.protocol === IPPROTO_TCP && packet.hasTcp) this.#followTcp(packet, w, d);
    return slot;
  }

  #followTcp(packet: Packet, w: number, d: number): void {
    const { words, doubles, direction } = this;
    const flags = packet.tcpFlags;
    words[w + W_TCP_FLAGS] = words[w + W_TCP_FLAGS]! | ((flags & 0xff) << (direction << 3));
    let meta = words[w + W_META]!;
    if ((flags & TCP_SYN) !== 0) {
      words[w + W_ISN_A + direction] = packet.seq;
      meta |= M_ISN_A << direction;
      if ((flags & TCP_ACK) !== 0) {
        meta |= M_SYN_ACK_A << direction;
        if (doubles[d + D_SYN_ACK] === 0) doubles[d + D_SYN_ACK] = packet.timeNs;
      } else {
        meta |= M_SYN_A << direction;
        doubles[d + D_SYN] = packet.timeNs;
      }
    } else if (
      (flags & TCP_ACK) !== 0 &&
      doubles[d + D_HANDSHAKE_ACK] === 0 &&
      (meta & (M_SYN_A << direction)) !== 0 &&
      (flags & TCP_RST) === 0
    )
      doubles[d + D_HANDSHAKE_ACK] = packet.timeNs;
    if ((flags & TCP_ACK) !== 0) words[w + W_ACK_A + direction] = packet.ack;
    if (packet.window === 0 && (flags & (TCP_RST | TCP_SYN | TCP_FIN)) === 0) words[w + W_ZERO_WINDOWS] = words[w + W_ZERO_WINDOWS]! + 1;

    const length = packet.payloadLength + (flags & TCP_SYN ? 1 : 0) + (flags & TCP_FIN ? 1 : 0);
    const end = (packet.seq + length) | 0;
    if ((meta & (M_NEXT_A << direction)) === 0) {
      words[w + W_NEXT_A + direction] = end;
      meta |= M_NEXT_A << direction;
    } else if (length > 0 && (flags & TCP_RST) === 0) {
      const next = words[w + W_NEXT_A + direction]!;
      const ahead = (packet.seq - next) | 0;
      if (ahead === 0) words[w + W_NEXT_A + direction] = end;
      else if (ahead > 0) {
        words[w + W_HOLE_A + direction] = next;
        words[w + W_HOLE_END_A + direction] = packet.seq;
        doubles[d + D_HOLE] = packet.timeNs;
        words[w + W_NEXT_A + direction] = end;
      } else {
        const hole = words[w + W_HOLE_A + direction]!;
        const inHole = ((packet.seq - hole) | 0) >= 0 && ((words[w + W_HOLE_END_A + direction]! - end) | 0) >= 0;
        // One byte (or none) just below what is expected is a keep-alive (RFC 9293 section 3.8.4).
        const keepAlive = ahead === -1 && length <= 1 && (flags & (TCP_SYN | TCP_FIN)) === 0;
        if (inHole && packet.timeNs - doubles[d + D_HOLE]! < REORDER_NS) words[w + W_OUT_OF_ORDER] = words[w + W_OUT_OF_ORDER]! + 1;
        else if (!keepAlive) words[w + W_RETRANSMISSIONS] = words[w + W_RETRANSMISSIONS]! + 1;
        if (((end - next) | 0) > 0) words[w + W_NEXT_A + direction] = end;
      }
    }
    words[w + W_META] = meta;
  }

  /** Does this packet begin another flow on the tuple of the slot? */
  #isAnother(packet: Packet, slot: number): boolean {
    const w = slot * SLOT_WORDS;
    const d = slot * SLOT_DOUBLES;
    const { words, direction } = this;
    const protocol = words[w + W_META]! & 0xff;
    if (protocol === IPPROTO_TCP) {
      if ((packet.tcpFlags & TCP_SYN) === 0) return false;
      const meta = words[w + W_META]!;
      if ((packet.tcpFlags & TCP_ACK) === 0) {
        if ((meta & (M_ISN_A << direction)) !== 0) return words[w + W_ISN_A + direction] !== packet.seq;
        // A SYN after the answers of a connection that began before we looked.
        return (meta & (M_NEXT_A << direction)) !== 0 || (meta & (M_SYN_ACK_A | M_SYN_ACK_B)) !== 0 || ended(words[w + W_TCP_FLAGS]!);
      }
      // A SYN/ACK belongs to the SYN of the other side; alone (one half of a redirected connection) a new number is a new connection.
      if ((meta & (M_SYN_A << (direction ^ 1))) !== 0) return false;
      if ((meta & (M_ISN_A << direction)) !== 0) return words[w + W_ISN_A + direction] !== packet.seq;
      return (meta & (M_NEXT_A << direction)) !== 0;
    }
    const idle = packet.timeNs - this.doubles[d + D_LAST]!;
    if (protocol === IPPROTO_UDP) return idle > (this.doubles[d + D_PACKETS_B]! > 0 ? UDP_STREAM_NS : UDP_UNREPLIED_NS);
    return idle > OTHER_IDLE_NS;
  }

  #create(packet: Packet, hash: number, at: number): number {
    const slot = this.count++;
    if (slot === this.#slots) this.#grow();
    const w = slot * SLOT_WORDS;
    const d = slot * SLOT_DOUBLES;
    const { words, doubles } = this;
    words[w] = packet.src0;
    words[w + 1] = packet.src1;
    words[w + 2] = packet.src2;
    words[w + 3] = packet.src3;
    words[w + 4] = packet.dst0;
    words[w + 5] = packet.dst1;
    words[w + 6] = packet.dst2;
    words[w + 7] = packet.dst3;
    words[w + W_PORTS] = (packet.srcPort << 16) | packet.dstPort;
    words[w + W_META] = packet.protocol | (packet.ipVersion === 6 ? M_IPV6 : 0);
    words[w + W_INTERFACE] = at;
    words[w + W_OTHER_HALF] = -1;
    doubles[d + D_FIRST] = packet.timeNs;
    doubles[d + D_LAST] = packet.timeNs;
    this.direction = 0;
    this.isNew = true;
    return slot;
  }

  #grow(): void {
    this.#slots *= 2;
    const buffer = new ArrayBuffer(this.#slots * SLOT_BYTES);
    const words = new Int32Array(buffer);
    words.set(this.words);
    this.words = words;
    this.doubles = new Float64Array(buffer);
    const index = new Int32Array(this.#slots * 4);
    const mask = this.#slots * 2 - 1;
    const old = this.#index;
    for (let i = 0; i < old.length; i += 2) {
      if (old[i] === 0) continue;
      let entry = old[i + 1]! & mask;
      while (index[entry << 1] !== 0) entry = (entry + 1) & mask;
      index[entry << 1] = old[i]!;
      index[(entry << 1) + 1] = old[i + 1]!;
    }
    this.#index = index;
    this.#mask = mask;
  }

  #place(hash: number, slot: number): void {
    const index = this.#index;
    let entry = hash & this.#mask;
    while (index[entry << 1] !== 0) entry = (entry + 1) & this.#mask;
    index[entry << 1] = slot + 1;
    index[(entry << 1) + 1] = hash;
  }

  /** Symmetric: both directions give the same. */
  #hash(packet: Packet): number {
    let a = packet.src3 ^ this.#seed;
    let b = packet.dst3 ^ this.#seed;
    if (packet.ipVersion === 6) {
      a ^= Math.imul(packet.src0 ^ Math.imul(packet.src1, 0x27d4eb2f), 0x165667b1) ^ Math.imul(packet.src2, 0x85ebca77);
      b ^= Math.imul(packet.dst0 ^ Math.imul(packet.dst1, 0x27d4eb2f), 0x165667b1) ^ Math.imul(packet.dst2, 0x85ebca77);
    }
    a = Math.imul(a ^ Math.imul(packet.srcPort, 0x9e3779b1), 0x85ebca6b);
    a ^= a >>> 15;
    a = Math.imul(a, 0xc2b2ae35);
    b = Math.imul(b ^ Math.imul(packet.dstPort, 0x9e3779b1), 0x85ebca6b);
    b ^= b >>> 15;
    b = Math.imul(b, 0xc2b2ae35);
    let h = (a + b + packet.protocol) | 0;
    h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
    return h ^ (h >>> 15);
  }

  /** Index entry of the tuple, or -1; sets `direction`. */
  #lookup(packet: Packet, hash: number, srcPort: number, dstPort: number): number {
    const { words } = this;
    const index = this.#index;
    const mask = this.#mask;
    const forward = (srcPort << 16) | dstPort;
    const backward = (dstPort << 16) | srcPort;
    const kind = packet.protocol | (packet.ipVersion === 6 ? M_IPV6 : 0);
    for (let entry = hash & mask; ; entry = (entry + 1) & mask) {
      const slot = index[entry << 1]! - 1;
      if (slot < 0) return -1;
      if (index[(entry << 1) + 1] !== hash) continue;
      const w = slot * SLOT_WORDS;
      if ((words[w + W_META]! & (0xff | M_IPV6)) !== kind) continue;
      if (
        words[w + W_PORTS] === forward &&
        words[w + W_ADDR_A + 3] === packet.src3 &&
        words[w + W_ADDR_B + 3] === packet.dst3 &&
        words[w + W_ADDR_A] === packet.src0 &&
        words[w + W_ADDR_A + 1] === packet.src1 &&
        words[w + W_ADDR_A + 2] === packet.src2 &&
        words[w + W_ADDR_B] === packet.dst0 &&
        words[w + W_ADDR_B + 1] === packet.dst1 &&
        words[w + W_ADDR_B + 2] === packet.dst2
      ) {
        this.direction = 0;
        return entry;
      }
      if (
        words[w + W_PORTS] === backward &&
        words[w + W_ADDR_A + 3] === packet.dst3 &&
        words[w + W_ADDR_B + 3] === packet.src3 &&
        words[w + W_ADDR_A] === packet.dst0 &&
        words[w + W_ADDR_A + 1] === packet.dst1 &&
        words[w + W_ADDR_A + 2] === packet.dst2 &&
        words[w + W_ADDR_B] === packet.src0 &&
        words[w + W_ADDR_B + 1] === packet.src1 &&
        words[w + W_ADDR_B + 2] === packet.src2
      ) {
        this.direction = 1;
        return entry;
      }
    }
  }
}
