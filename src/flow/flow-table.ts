/**
 * The flow table: packets in, counted flows out. Keyed by the 5-tuple on the wire, both directions in one slot of typed arrays.
 *
 * This is the inner loop behind one interface: a packet is a lane of numbers (decode/lanes.ts); `observeLane` finds or makes its slot, counts, follows TCP, and returns the slot's number.
 * `prepare` asks memory for what a whole batch of lanes will need: with many flows nearly every packet waits for its slot, and together they wait once.
 * Slots are numbered in the order of arrival and never move; a tuple that is used again gets a new slot.
 *
 * Source: RFC 9293 (sequence numbers, flags); idle times follow Linux nf_conntrack's defaults (udp 30 s, udp stream 120 s, icmp 30 s).
 */
import {
  L_ACK,
  L_DST,
  L_HASH,
  L_IFINDEX,
  L_INTERFACE,
  L_IP_LENGTH,
  L_KIND,
  L_PAYLOAD,
  L_PORTS,
  L_SEQ,
  L_SRC,
  L_TCP,
  LANE_HAS_TCP,
  LANE_IPV6,
  LANE_WORDS,
  LANES,
  Lanes,
} from '../decode/lanes.ts';
import { IPPROTO_TCP, IPPROTO_UDP, type Packet, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../decode/packet.ts';
import { H_COUNT, H_MASK, H_ROOM, H_SEED, LOOP_GROW_INDEX, LOOP_GROW_SLOTS, LoopMemory } from './loop-memory.ts';
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
  M_HANDSHAKE,
  M_IPV6,
  M_ISN_A,
  M_MANY_INTERFACES,
  M_NEXT_A,
  M_PAYLOAD_A,
  M_PROTOCOL,
  M_SYN_A,
  M_SYN_ACK_A,
  M_SYN_ACK_B,
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

const WINDOW_SHIFT = 16;
const FLAGS = 0x1ff;

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
  /** Packets are read into lanes before they are counted. */
  readonly lanes: Lanes = new Lanes();

  readonly memory: LoopMemory;

  #slots: number;
  /** Open addressing, linear probing, at most half full: pairs of (slot + 1, hash). */
  #index: Int32Array;
  #mask: number;
  readonly #seed: number;
  /** What `prepare` read: kept, so that reading it is not left out. */
  prepared = 0;

  /** @param seed of the hash: constant in a replay so that the same input gives the same order; random in a daemon, against crafted collisions */
  constructor(seed = 0x2545f491, memory: LoopMemory = new LoopMemory()) {
    this.#seed = seed | 0;
    this.memory = memory;
    this.#slots = memory.slots;
    this.words = memory.words;
    this.doubles = memory.doubles;
    this.#index = memory.index;
    this.#mask = (memory.index.length >>> 1) - 1;
  }

  /** The slot in which this packet's flow is kept, or -1; counts nothing. `direction` is set as by {@link observe}. */
  find(packet: Packet): number {
    const l = this.lanes.readPacket(packet);
    const entry = this.#lookup(this.lanes.words, l, this.#hash(this.lanes.words, l));
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
    const l = this.lanes.readPacket(packet);
    const { words } = this.lanes;
    words[l + L_HASH] = this.#hash(words, l);
    words[l + L_INTERFACE] = packet.ifindex !== 0 ? packet.ifindex : FILE_INTERFACE | interfaceId;
    return this.observeLane(LANES);
  }

  /**
   * Hashes the first `count` lanes, and touches the memory that {@link observeLane} will want of them.
   *
   * @param interfaceIds of the frames in the file; that of lane i is at `from + i`
   */
  prepare(count: number, interfaceIds: Int32Array, from: number): void {
    const lanes = this.lanes.words;
    const index = this.#index;
    const mask = this.#mask;
    const { words } = this;
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const l = i * LANE_WORDS;
      if (lanes[l + L_KIND] === -1) continue;
      const hash = this.#hash(lanes, l);
      lanes[l + L_HASH] = hash;
      const ifindex = lanes[l + L_IFINDEX]!;
      lanes[l + L_INTERFACE] = ifindex !== 0 ? ifindex : FILE_INTERFACE | interfaceIds[from + i]!;
      sum ^= index[(hash & mask) << 1]!;
    }
    for (let i = 0; i < count; i++) {
      const l = i * LANE_WORDS;
      if (lanes[l + L_KIND] === -1) continue;
      const slot = index[(lanes[l + L_HASH]! & mask) << 1]! - 1;
      if (slot < 0) continue;
      const w = slot * SLOT_WORDS;
      sum ^= words[w + W_META]! ^ words[w + W_ISN_A]!;
    }
    this.prepared = sum;
  }

  /** Counts the packet of a lane that {@link prepare} saw, as {@link observe} does. */
  observeLane(lane: number): number {
    const lanes = this.lanes.words;
    const l = lane * LANE_WORDS;
    const timeNs = this.lanes.timeNs[lane]!;
    const hash = lanes[l + L_HASH]!;
    const entry = this.#lookup(lanes, l, hash);
    let slot: number;
    if (entry < 0) {
      slot = this.#create(lane);
      this.#place(hash, slot);
    } else {
      slot = this.#index[entry << 1]! - 1;
      if (this.#isAnother(lane, slot)) {
        slot = this.#create(lane);
        this.#index[entry << 1] = slot + 1;
      } else this.isNew = false;
    }
    const w = slot * SLOT_WORDS;
    const d = slot * SLOT_DOUBLES;
    const { words, doubles, direction } = this;
    if (timeNs > doubles[d + D_LAST]!) doubles[d + D_LAST] = timeNs;
    doubles[d + D_PACKETS_A + direction] = doubles[d + D_PACKETS_A + direction]! + 1;
    doubles[d + D_BYTES_A + direction] = doubles[d + D_BYTES_A + direction]! + lanes[l + L_IP_LENGTH]!;
    if (lanes[l + L_PAYLOAD]! > 0) words[w + W_META] = words[w + W_META]! | (M_PAYLOAD_A << direction);
    if ((lanes[l + L_KIND]! & M_PROTOCOL) === IPPROTO_TCP) {
      const tcp = lanes[l + L_TCP]!;
      if (words[w + W_INTERFACE] !== lanes[l + L_INTERFACE]) {
        // The same packet seen on a second interface (veth and bridge of a node) says nothing new about TCP.
        words[w + W_META] = words[w + W_META]! | M_MANY_INTERFACES;
        words[w + W_TCP_FLAGS] = words[w + W_TCP_FLAGS]! | ((tcp & 0xff) << (direction << 3));
      } else if ((tcp & LANE_HAS_TCP) !== 0) this.#followTcp(lane, w, d);
    } else if (words[w + W_INTERFACE] !== lanes[l + L_INTERFACE]) words[w + W_META] = words[w + W_META]! | M_MANY_INTERFACES;
    return slot;
  }

  /** Lets the loop of {@link LoopMemory} go on, with room for the flows that it finds; returns why it stopped (LOOP_LEFT, LOOP_READ or LOOP_DONE). */
  runLoop(): number {
    const { header, run } = this.memory.loop!;
    header[H_COUNT] = this.count;
    header[H_ROOM] = this.#slots;
    header[H_MASK] = this.#mask;
    header[H_SEED] = this.#seed;
    for (;;) {
      const stopped = run();
      this.count = header[H_COUNT]!;
      if (stopped === LOOP_GROW_SLOTS) {
        this.#grow();
        header[H_ROOM] = this.#slots;
      } else if (stopped === LOOP_GROW_INDEX) {
        this.#growIndex();
        header[H_MASK] = this.#mask;
      } else return stopped;
    }
  }

  /**
   * Forgets flows: the slots that are kept move together, in their order. Whoever holds numbers of slots has to renumber them.
   *
   * @param keep 1 for each slot below `count` that stays, else 0
   * @returns the new number of each slot, -1 of those that are gone
   */
  forget(keep: Uint8Array): Int32Array {
    const { words, count } = this;
    const moved = new Int32Array(count).fill(-1);
    const hashes = this.#hashes();
    let kept = 0;
    for (let slot = 0; slot < count; slot++) {
      if (keep[slot] !== 1) continue;
      if (slot !== kept) words.copyWithin(kept * SLOT_WORDS, slot * SLOT_WORDS, (slot + 1) * SLOT_WORDS);
      moved[slot] = kept++;
    }
    // Slots are made of zeros.
    words.fill(0, kept * SLOT_WORDS, count * SLOT_WORDS);
    for (let slot = 0; slot < kept; slot++) {
      const w = slot * SLOT_WORDS + W_OTHER_HALF;
      if (words[w] !== -1) words[w] = moved[words[w]!]!;
    }
    this.count = kept;
    this.#index.fill(0);
    // Older flows of a tuple are not in the index: only what it named goes back.
    for (let i = 0; i < hashes.length; i += 2) {
      const slot = moved[hashes[i]!]!;
      if (slot !== -1) this.#place(hashes[i + 1]!, slot);
    }
    return moved;
  }

  /** Slot and hash of every entry of the index. */
  #hashes(): Int32Array {
    const index = this.#index;
    const found = new Int32Array(this.count * 2);
    let at = 0;
    for (let i = 0; i < index.length; i += 2) {
      if (index[i] === 0) continue;
      found[at++] = index[i]! - 1;
      found[at++] = index[i + 1]!;
    }
    return found.subarray(0, at);
  }

  #followTcp(lane: number, w: number, d: number): void {
    const lanes = this.lanes.words;
    const l = lane * LANE_WORDS;
    const { words, doubles, direction } = this;
    const tcp = lanes[l + L_TCP]!;
    const flags = tcp & FLAGS;
    words[w + W_TCP_FLAGS] = words[w + W_TCP_FLAGS]! | ((flags & 0xff) << (direction << 3));
    let meta = words[w + W_META]!;
    const seq = lanes[l + L_SEQ]!;
    if ((flags & TCP_SYN) !== 0) {
      words[w + W_ISN_A + direction] = seq;
      meta |= M_ISN_A << direction;
      if ((flags & TCP_ACK) !== 0) {
        meta |= M_SYN_ACK_A << direction;
        if (doubles[d + D_SYN_ACK] === 0) doubles[d + D_SYN_ACK] = this.lanes.timeNs[lane]!;
      } else {
        meta |= M_SYN_A << direction;
        doubles[d + D_SYN] = this.lanes.timeNs[lane]!;
      }
    } else if ((meta & (M_HANDSHAKE | (M_SYN_A << direction))) === M_SYN_A << direction && (flags & (TCP_ACK | TCP_RST)) === TCP_ACK) {
      meta |= M_HANDSHAKE;
      doubles[d + D_HANDSHAKE_ACK] = this.lanes.timeNs[lane]!;
    }
    if ((flags & TCP_ACK) !== 0) words[w + W_ACK_A + direction] = lanes[l + L_ACK]!;
    if (tcp >>> WINDOW_SHIFT === 0 && (flags & (TCP_RST | TCP_SYN | TCP_FIN)) === 0)
      words[w + W_ZERO_WINDOWS] = words[w + W_ZERO_WINDOWS]! + 1;

    const length = lanes[l + L_PAYLOAD]! + (flags & TCP_SYN ? 1 : 0) + (flags & TCP_FIN ? 1 : 0);
    const end = (seq + length) | 0;
    if ((meta & (M_NEXT_A << direction)) === 0) {
      words[w + W_NEXT_A + direction] = end;
      meta |= M_NEXT_A << direction;
    } else if (length > 0 && (flags & TCP_RST) === 0) {
      const next = words[w + W_NEXT_A + direction]!;
      const ahead = (seq - next) | 0;
      if (ahead === 0) words[w + W_NEXT_A + direction] = end;
      else this.#followDisorder(lane, w, d, ahead, end);
    }
    words[w + W_META] = meta;
  }

  /** A segment that is not the next one: `ahead` of it, or behind. */
  #followDisorder(lane: number, w: number, d: number, ahead: number, end: number): void {
    const lanes = this.lanes.words;
    const l = lane * LANE_WORDS;
    const { words, doubles, direction } = this;
    const seq = lanes[l + L_SEQ]!;
    const flags = lanes[l + L_TCP]! & FLAGS;
    const next = words[w + W_NEXT_A + direction]!;
    if (ahead > 0) {
      words[w + W_HOLE_A + direction] = next;
      words[w + W_HOLE_END_A + direction] = seq;
      doubles[d + D_HOLE] = this.lanes.timeNs[lane]!;
      words[w + W_NEXT_A + direction] = end;
      return;
    }
    const hole = words[w + W_HOLE_A + direction]!;
    const inHole = ((seq - hole) | 0) >= 0 && ((words[w + W_HOLE_END_A + direction]! - end) | 0) >= 0;
    // One byte (or none) just below what is expected is a keep-alive (RFC 9293 section 3.8.4).
    const keepAlive = ahead === -1 && ((end - seq) | 0) <= 1 && (flags & (TCP_SYN | TCP_FIN)) === 0;
    if (inHole && this.lanes.timeNs[lane]! - doubles[d + D_HOLE]! < REORDER_NS) words[w + W_OUT_OF_ORDER] = words[w + W_OUT_OF_ORDER]! + 1;
    else if (!keepAlive) words[w + W_RETRANSMISSIONS] = words[w + W_RETRANSMISSIONS]! + 1;
    if (((end - next) | 0) > 0) words[w + W_NEXT_A + direction] = end;
  }

  /** Does this packet begin another flow on the tuple of the slot? */
  #isAnother(lane: number, slot: number): boolean {
    const lanes = this.lanes.words;
    const l = lane * LANE_WORDS;
    const w = slot * SLOT_WORDS;
    const d = slot * SLOT_DOUBLES;
    const { words, direction } = this;
    const protocol = lanes[l + L_KIND]! & M_PROTOCOL;
    if (protocol === IPPROTO_TCP) {
      const tcp = lanes[l + L_TCP]!;
      if ((tcp & TCP_SYN) === 0) return false;
      const meta = words[w + W_META]!;
      const seq = lanes[l + L_SEQ]!;
      if ((tcp & TCP_ACK) === 0) {
        if ((meta & (M_ISN_A << direction)) !== 0) return words[w + W_ISN_A + direction] !== seq;
        // A SYN after the answers of a connection that began before we looked.
        return (meta & (M_NEXT_A << direction)) !== 0 || (meta & (M_SYN_ACK_A | M_SYN_ACK_B)) !== 0 || ended(words[w + W_TCP_FLAGS]!);
      }
      // A SYN/ACK belongs to the SYN of the other side; alone (one half of a redirected connection) a new number is a new connection.
      if ((meta & (M_SYN_A << (direction ^ 1))) !== 0) return false;
      if ((meta & (M_ISN_A << direction)) !== 0) return words[w + W_ISN_A + direction] !== seq;
      return (meta & (M_NEXT_A << direction)) !== 0;
    }
    const idle = this.lanes.timeNs[lane]! - this.doubles[d + D_LAST]!;
    if (protocol === IPPROTO_UDP) return idle > (this.doubles[d + D_PACKETS_B]! > 0 ? UDP_STREAM_NS : UDP_UNREPLIED_NS);
    return idle > OTHER_IDLE_NS;
  }

  #create(lane: number): number {
    const lanes = this.lanes.words;
    const l = lane * LANE_WORDS;
    const timeNs = this.lanes.timeNs[lane]!;
    const slot = this.count++;
    if (slot === this.#slots) this.#grow();
    const w = slot * SLOT_WORDS;
    const d = slot * SLOT_DOUBLES;
    const { words, doubles } = this;
    const kind = lanes[l + L_KIND]!;
    if ((kind & LANE_IPV6) !== 0) {
      words[w + W_ADDR_A] = lanes[l + L_SRC]!;
      words[w + W_ADDR_A + 1] = lanes[l + L_SRC + 1]!;
      words[w + W_ADDR_A + 2] = lanes[l + L_SRC + 2]!;
      words[w + W_ADDR_B] = lanes[l + L_DST]!;
      words[w + W_ADDR_B + 1] = lanes[l + L_DST + 1]!;
      words[w + W_ADDR_B + 2] = lanes[l + L_DST + 2]!;
    }
    words[w + W_ADDR_A + 3] = lanes[l + L_SRC + 3]!;
    words[w + W_ADDR_B + 3] = lanes[l + L_DST + 3]!;
    words[w + W_PORTS] = lanes[l + L_PORTS]!;
    words[w + W_META] = kind;
    words[w + W_INTERFACE] = lanes[l + L_INTERFACE]!;
    words[w + W_OTHER_HALF] = -1;
    doubles[d + D_FIRST] = timeNs;
    doubles[d + D_LAST] = timeNs;
    this.direction = 0;
    this.isNew = true;
    return slot;
  }

  #grow(): void {
    this.memory.growSlots();
    this.words = this.memory.words;
    this.doubles = this.memory.doubles;
    this.#slots = this.memory.slots;
  }

  #place(hash: number, slot: number): void {
    if (slot > this.#mask >>> 1) this.#growIndex();
    const index = this.#index;
    let entry = hash & this.#mask;
    while (index[entry << 1] !== 0) entry = (entry + 1) & this.#mask;
    index[entry << 1] = slot + 1;
    index[(entry << 1) + 1] = hash;
  }

  #growIndex(): void {
    const old = this.memory.growIndex();
    const { index } = this.memory;
    const mask = this.#mask * 2 + 1;
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

  /** Symmetric: both directions give the same. */
  #hash(lanes: Int32Array, l: number): number {
    const seed = this.#seed;
    const kind = lanes[l + L_KIND]!;
    const ports = lanes[l + L_PORTS]!;
    let a = lanes[l + L_SRC + 3]! ^ seed;
    let b = lanes[l + L_DST + 3]! ^ seed;
    if ((kind & LANE_IPV6) !== 0) {
      a ^=
        Math.imul(lanes[l + L_SRC]! ^ Math.imul(lanes[l + L_SRC + 1]!, 0x27d4eb2f), 0x165667b1) ^
        Math.imul(lanes[l + L_SRC + 2]!, 0x85ebca77);
      b ^=
        Math.imul(lanes[l + L_DST]! ^ Math.imul(lanes[l + L_DST + 1]!, 0x27d4eb2f), 0x165667b1) ^
        Math.imul(lanes[l + L_DST + 2]!, 0x85ebca77);
    }
    a = Math.imul(a ^ Math.imul(ports >>> 16, 0x9e3779b1), 0x85ebca6b);
    a ^= a >>> 15;
    a = Math.imul(a, 0xc2b2ae35);
    b = Math.imul(b ^ Math.imul(ports & 0xffff, 0x9e3779b1), 0x85ebca6b);
    b ^= b >>> 15;
    b = Math.imul(b, 0xc2b2ae35);
    let h = (a + b + (kind & M_PROTOCOL)) | 0;
    h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
    return h ^ (h >>> 15);
  }

  /** Index entry of the tuple, or -1; sets `direction`. */
  #lookup(lanes: Int32Array, l: number, hash: number): number {
    const { words } = this;
    const index = this.#index;
    const mask = this.#mask;
    const forward = lanes[l + L_PORTS]!;
    const backward = (forward << 16) | (forward >>> 16);
    const kind = lanes[l + L_KIND]!;
    const src = lanes[l + L_SRC + 3]!;
    const dst = lanes[l + L_DST + 3]!;
    for (let entry = hash & mask; ; entry = (entry + 1) & mask) {
      const slot = index[entry << 1]! - 1;
      if (slot < 0) return -1;
      if (index[(entry << 1) + 1] !== hash) continue;
      const w = slot * SLOT_WORDS;
      if ((words[w + W_META]! & (M_PROTOCOL | M_IPV6)) !== kind) continue;
      const ports = words[w + W_PORTS]!;
      const a = words[w + W_ADDR_A + 3]!;
      const b = words[w + W_ADDR_B + 3]!;
      if (ports === forward && a === src && b === dst && ((kind & LANE_IPV6) === 0 || this.#sameV6(lanes, l + L_SRC, l + L_DST, w))) {
        this.direction = 0;
        return entry;
      }
      if (ports === backward && a === dst && b === src && ((kind & LANE_IPV6) === 0 || this.#sameV6(lanes, l + L_DST, l + L_SRC, w))) {
        this.direction = 1;
        return entry;
      }
    }
  }

  /** Do the upper words of the addresses at `a` and `b` of the lanes agree with A and B of a slot? */
  #sameV6(lanes: Int32Array, a: number, b: number, w: number): boolean {
    const { words } = this;
    return (
      words[w + W_ADDR_A] === lanes[a] &&
      words[w + W_ADDR_A + 1] === lanes[a + 1] &&
      words[w + W_ADDR_A + 2] === lanes[a + 2] &&
      words[w + W_ADDR_B] === lanes[b] &&
      words[w + W_ADDR_B + 1] === lanes[b + 1] &&
      words[w + W_ADDR_B + 2] === lanes[b + 2]
    );
  }
}
