/**
 * Finds the two one-way wire flows of a connection that was redirected in OUTPUT: `pod:e > 127.0.0.1:15001` and `origDst:port > pod:e`.
 *
 * Never by port (the kernel rewrites ports on collision), but by TCP sequence numbers, which NAT leaves alone: the answer acknowledges SYN.seq + 1, and in the middle of a
 * connection both sides' next numbers agree. DNS over UDP is found by its transaction. Redirection in OUTPUT always goes to loopback, so only packets to loopback
 * from elsewhere are remembered.
 *
 * Source: Linux net/netfilter/nf_nat_redirect.c (nf_nat_redirect_ipv4: LOCAL_OUT maps to 127.0.0.1); RFC 9293.
 */
import { L_DST, L_KIND, L_SRC, L_TCP, LANE_IPV6 } from '../decode/lanes.ts';
import { IPPROTO_TCP, IPPROTO_UDP, type Packet, TCP_ACK, TCP_SYN } from '../decode/packet.ts';
import type { FlowTable } from './flow-table.ts';
import { SLOT_WORDS, W_ACK_A, W_ADDR_A, W_ADDR_B, W_META, W_NEXT_A, W_OTHER_HALF } from './slot.ts';

/** Questions that wait for their answers' half; the oldest is given up when there are more. */
const WAITING_MAX = 65536;
/** One-way flows that began before the recording and wait for their other half. */
const MIDSTREAM_MAX = 1024;

function toLoopback(packet: Packet): boolean {
  if (packet.ipVersion === 4) return packet.dst3 >>> 24 === 127 && packet.src3 >>> 24 !== 127;
  return (
    isV6Loopback(packet.dst0, packet.dst1, packet.dst2, packet.dst3) && !isV6Loopback(packet.src0, packet.src1, packet.src2, packet.src3)
  );
}

function isLaneToLoopback(lanes: Int32Array, l: number): boolean {
  if ((lanes[l + L_KIND]! & LANE_IPV6) === 0) return lanes[l + L_DST + 3]! >>> 24 === 127 && lanes[l + L_SRC + 3]! >>> 24 !== 127;
  const to = l + L_DST;
  const from = l + L_SRC;
  return (
    isV6Loopback(lanes[to]!, lanes[to + 1]!, lanes[to + 2]!, lanes[to + 3]!) &&
    !isV6Loopback(lanes[from]!, lanes[from + 1]!, lanes[from + 2]!, lanes[from + 3]!)
  );
}

function isV6Loopback(a: number, b: number, c: number, d: number): boolean {
  return a === 0 && b === 0 && c === 0 && d === 1;
}

export class Halves {
  readonly #table: FlowTable;
  /** SYN.seq + 1 → slot of the question half. */
  readonly #syns = new Map<number, number>();
  readonly #dns = new Map<string, number>();
  readonly #midstream = new Set<number>();
  /** Flows that began before the recording while nothing waited: the answers of one that is seen only later may be among them. */
  readonly #early = new Set<number>();

  constructor(table: FlowTable) {
    this.#table = table;
  }

  /** What it waits for, for native/flow-loop: bit 0 the halves of connections that began before the recording, bit 1 answers to a SYN, bit 2 flows that might be the former. */
  get watch(): number {
    return (this.#midstream.size > 0 ? 1 : 0) | (this.#syns.size > 0 ? 2 : 0) | (this.#early.size < MIDSTREAM_MAX ? 4 : 0);
  }

  /** May {@link observe} say or remember anything of the TCP segment in a lane (decode/lanes.ts)? Nearly always not. */
  concerns(lanes: Int32Array, l: number, slot: number): boolean {
    if (isLaneToLoopback(lanes, l)) return true;
    if (this.#midstream.size > 0) return this.#table.isNew || this.#midstream.has(slot);
    const flags = lanes[l + L_TCP]!;
    if (!this.#table.isNew || (flags & TCP_ACK) === 0) return false;
    return this.#syns.size > 0 || ((flags & TCP_SYN) === 0 && this.#early.size < MIDSTREAM_MAX);
  }

  /**
   * Looks at a packet whose flow has no other half yet.
   *
   * @param slot of the packet, as `observe` returned it, with `table.isNew` still valid
   * @param dnsId transaction of a DNS message over UDP, -1 for anything else
   * @returns the slot that was found to be the other half (both are marked), or -1
   */
  observe(packet: Packet, slot: number, dnsId: number): number {
    if (packet.protocol === IPPROTO_TCP) return this.#observeTcp(packet, slot);
    if (packet.protocol === IPPROTO_UDP && dnsId >= 0) return this.#observeDns(packet, slot, dnsId);
    return -1;
  }

  /** Slots have new numbers, -1 where they are gone. */
  renumber(moved: Int32Array): void {
    renumberMap(this.#syns, moved);
    renumberMap(this.#dns, moved);
    renumberSet(this.#midstream, moved);
    renumberSet(this.#early, moved);
  }

  /** Marks two slots as the halves of one connection. */
  join(question: number, answer: number): void {
    this.#table.words[question * SLOT_WORDS + W_OTHER_HALF] = answer;
    this.#table.words[answer * SLOT_WORDS + W_OTHER_HALF] = question;
    this.#midstream.delete(question);
    this.#midstream.delete(answer);
  }

  #observeTcp(packet: Packet, slot: number): number {
    const isNew = this.#table.isNew;
    if (toLoopback(packet)) {
      if ((packet.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN) {
        bounded(this.#syns, WAITING_MAX);
        this.#syns.set((packet.seq + 1) | 0, slot);
        return -1;
      }
      if (isNew) this.#awaitAnswers(slot);
      return this.#midstream.has(slot) ? this.#pairMidstream(packet, slot) : -1;
    }
    if (!isNew && !this.#midstream.has(slot)) return -1;
    if (isNew && (packet.tcpFlags & TCP_ACK) !== 0) {
      const question = this.#syns.get(packet.ack);
      if (question !== undefined && this.#sameHost(question, packet)) {
        this.#syns.delete(packet.ack);
        this.join(question, slot);
        return question;
      }
    }
    if ((packet.tcpFlags & TCP_SYN) !== 0) return -1;
    if (isNew) {
      if (this.#midstream.size >= MIDSTREAM_MAX || !this.#waitsFor(packet)) {
        if (this.#early.size < MIDSTREAM_MAX) this.#early.add(slot);
        return -1;
      }
      this.#midstream.add(slot);
    }
    return this.#pairMidstream(packet, slot);
  }

  #observeDns(packet: Packet, slot: number, dnsId: number): number {
    if (toLoopback(packet)) {
      bounded(this.#dns, WAITING_MAX);
      this.#dns.set(`${packet.src0},${packet.src1},${packet.src2},${packet.src3}:${packet.srcPort}#${dnsId}`, slot);
      return -1;
    }
    if (this.#dns.size === 0) return -1;
    const key = `${packet.dst0},${packet.dst1},${packet.dst2},${packet.dst3}:${packet.dstPort}#${dnsId}`;
    const question = this.#dns.get(key);
    if (question === undefined || question === slot || this.#table.words[question * SLOT_WORDS + W_OTHER_HALF] !== -1) return -1;
    this.#dns.delete(key);
    this.join(question, slot);
    return question;
  }

  /** A question half that began before the recording waits for its answers, and what may be these begins to wait with it. */
  #awaitAnswers(question: number): void {
    if (this.#midstream.size >= MIDSTREAM_MAX) return;
    this.#midstream.add(question);
    const { words } = this.#table;
    const host = question * SLOT_WORDS + W_ADDR_A;
    for (const slot of this.#early) {
      const to = slot * SLOT_WORDS + W_ADDR_B;
      if (
        words[to + 3] !== words[host + 3] ||
        words[to] !== words[host] ||
        words[to + 1] !== words[host + 1] ||
        words[to + 2] !== words[host + 2]
      )
        continue;
      this.#early.delete(slot);
      if (this.#midstream.size < MIDSTREAM_MAX) this.#midstream.add(slot);
    }
  }

  /** Does any waiting question half belong to the host that this packet goes to? */
  #waitsFor(packet: Packet): boolean {
    for (const other of this.#midstream) if (this.#sameHost(other, packet)) return true;
    return false;
  }

  /** Is A of the slot the host to which the packet goes? */
  #sameHost(slot: number, packet: Packet): boolean {
    const w = slot * SLOT_WORDS + W_ADDR_A;
    const words = this.#table.words;
    return words[w] === packet.dst0 && words[w + 1] === packet.dst1 && words[w + 2] === packet.dst2 && words[w + 3] === packet.dst3;
  }

  /** Two one-way flows whose next sequence numbers are what the other one acknowledges are the halves of one connection. */
  #pairMidstream(packet: Packet, slot: number): number {
    if ((packet.tcpFlags & TCP_ACK) === 0) return -1;
    const { words } = this.#table;
    const mine = slot * SLOT_WORDS;
    for (const other of this.#midstream) {
      if (other === slot) continue;
      const w = other * SLOT_WORDS;
      if (words[w + W_META] === 0 || words[w + W_NEXT_A] !== packet.ack || words[w + W_ACK_A] !== packet.seq) continue;
      const questionIsMine = toLoopback(packet);
      const host = questionIsMine ? mine + W_ADDR_A : w + W_ADDR_A;
      const back = questionIsMine ? w + W_ADDR_A + 4 : mine + W_ADDR_A + 4;
      if (
        words[host + 3] !== words[back + 3] ||
        words[host] !== words[back] ||
        words[host + 1] !== words[back + 1] ||
        words[host + 2] !== words[back + 2]
      )
        continue;
      if (questionIsMine) this.join(slot, other);
      else this.join(other, slot);
      return other;
    }
    return -1;
  }
}

function bounded<K, V>(map: Map<K, V>, max: number): void {
  if (map.size < max) return;
  for (const key of map.keys()) {
    map.delete(key);
    return;
  }
}

function renumberMap<K>(map: Map<K, number>, moved: Int32Array): void {
  for (const [key, slot] of map) {
    const to = moved[slot]!;
    if (to === -1) map.delete(key);
    else map.set(key, to);
  }
}

function renumberSet(set: Set<number>, moved: Int32Array): void {
  const slots = [...set];
  set.clear();
  for (const slot of slots) if (moved[slot] !== -1) set.add(moved[slot]!);
}
