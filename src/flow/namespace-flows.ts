/**
 * Everything that the packets of one network namespace tell: the flow table, the halves of redirected connections, what was read of payloads, and rarer facts beside the slots.
 *
 * This is where state lives between packets; it is filled by `observe` and read when records are made.
 */
import { decodeFrame, decodeQuoted } from '../decode/decode.ts';
import { decodeDns } from '../decode/dns.ts';
import { type FrameMemory, type Frames, L_KIND, L_PACKET_TYPE, L_PAYLOAD, L_PORTS, L_TCP, LANE_WORDS, LANES } from '../decode/lanes.ts';
import { IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP, Packet, TCP_FIN, TCP_RST, TCP_SYN } from '../decode/packet.ts';
import { DnsNotes } from './dns-notes.ts';
import { ConnectionTracker, DEFAULT_BUDGET_BYTES } from './exchange.ts';
import { addDns, type FlowExtra, tunnelOf } from './extra.ts';
import { FlowTable } from './flow-table.ts';
import { Fragments } from './fragments.ts';
import { Halves } from './halves.ts';
import {
  type FlowLoop,
  H_COUNTED,
  H_CURSOR,
  H_DIRECTION,
  H_END,
  H_FOLLOW_ALL,
  H_FRAME,
  H_IS_NEW,
  H_LANE,
  H_LANES_FILLED,
  H_SLOT,
  H_WATCH,
  LINK_TYPES_MOST,
  LOOP_DONE,
  LOOP_LEFT,
  type LoopMemory,
} from './loop-memory.ts';
import {
  D_FIRST,
  M_FROM_US,
  M_IGNORED,
  M_ISN_A,
  M_PROTOCOL,
  M_SYN_A,
  M_SYN_ACK_A,
  M_SYN_ACK_B,
  M_SYN_B,
  M_TO_US,
  M_UNREACHABLE,
  SLOT_DOUBLES,
  SLOT_WORDS,
  W_EXTRA,
  W_FOLLOWER,
  W_ISN_A,
  W_META,
  W_OTHER_HALF,
  W_PORTS,
} from './slot.ts';

/** `all`: requests are read on every connection. `hello`: only what opens a connection (TLS, DNS). */
export type Follow = 'all' | 'hello';

export interface NamespaceFlowsOptions {
  readonly follow: Follow;
  /** Connections whose payload is followed at most; later ones are counted in `unfollowed`. */
  readonly followedMax?: number;
  /** Where the flow table lies, where that matters. */
  readonly memory?: LoopMemory;
  /** Of the table's hash; the replay's own when absent. */
  readonly seed?: number;
}

const FOLLOWED_MAX = 262_144;
const PACKET_OUTGOING = 4;
const TLS_HANDSHAKE = 22;

const NO_PAYLOAD = { bytes: new Uint8Array(0), payloadOffset: 0, payloadCaptured: 0, payloadLength: 0 };

const DNS_RESPONSE = 0x80;

function isDnsPort(port: number): boolean {
  return port === 53 || port === 5353 || port === 15053;
}

/** ICMP's queries and their answers are told apart by an identifier, as those of others by ports. */
function identify(packet: Packet): void {
  if (packet.icmpId !== 0) packet.srcPort = packet.dstPort = packet.icmpId;
}

/** Is there anything in a segment for the follower of its connection, or a reason to make one? */
function isToFollow(words: Int32Array, w: number, payloadLength: number, tcpFlags: number): boolean {
  if ((words[w + W_META]! & M_IGNORED) !== 0) return false;
  return payloadLength > 0 || (words[w + W_FOLLOWER] !== 0 && (tcpFlags & (TCP_FIN | TCP_RST)) !== 0);
}

export class NamespaceFlows {
  readonly table: FlowTable;
  readonly halves: Halves;
  /** Frames and bytes on the wire that were given to `observe`, and those of them without an IP packet. */
  frames = 0;
  bytes = 0;
  framesWithoutIp = 0;
  /** Fragments that came without their first one. */
  strayFragments = 0;
  /** Connections whose payload was not followed because there were too many. */
  unfollowed = 0;

  #extras: FlowExtra[] = [{}];
  #dnsNotes = new DnsNotes();
  #trackers: (ConnectionTracker | undefined)[] = [undefined];
  readonly #fragments = new Fragments();
  readonly #packet = new Packet();
  readonly #quoted = new Packet();
  readonly #follow: Follow;
  readonly #budget = { left: DEFAULT_BUDGET_BYTES };
  readonly #followedMax: number;
  #followed = 0;

  constructor(options: NamespaceFlowsOptions) {
    this.table = new FlowTable(options.seed, options.memory);
    this.halves = new Halves(this.table);
    this.#follow = options.follow;
    this.#followedMax = options.followedMax ?? FOLLOWED_MAX;
  }

  /** What was read of the payload of a slot's connection; `undefined` when nothing was. */
  trackerOf(slot: number): ConnectionTracker | undefined {
    return this.#trackers[this.table.words[slot * SLOT_WORDS + W_FOLLOWER]!];
  }

  /** What few flows have. Made anew at each call where it is only a kept DNS message or ICMP's type. */
  extraOf(slot: number): FlowExtra | undefined {
    const { words } = this.table;
    const w = slot * SLOT_WORDS;
    const index = words[w + W_EXTRA]!;
    const protocol = words[w + W_META]! & M_PROTOCOL;
    if (protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6) {
      const kind = words[w + W_ISN_A]!;
      const id = words[w + W_PORTS]! >>> 16;
      return { ...this.#extras[index], icmp: { type: kind >>> 8, code: kind & 0xff, ...(id === 0 ? {} : { id }) } };
    }
    if (index < 0) return this.#noted(index);
    return index === 0 ? undefined : this.#extras[index];
  }

  /** Where a source should put its frames, so that they need not be brought here; `undefined` where any place will do. */
  get frameMemory(): FrameMemory | undefined {
    return this.table.memory.loop?.frames;
  }

  /** Counts the first `count` frames of a block, and reads of them what there is to read. */
  observeBlock(frames: Frames, count: number, linkTypes: Int32Array): void {
    const loop = this.table.memory.loop;
    if (
      loop !== undefined &&
      frames.bytes === loop.frames.bytes &&
      frames.offset === loop.frames.offset &&
      linkTypes.length <= LINK_TYPES_MOST
    ) {
      loop.linkTypes.set(linkTypes);
      this.#runLoop(loop, frames, count, linkTypes);
    } else for (let from = 0; from < count; from += LANES) this.observeFrames(frames, from, Math.min(LANES, count - from), linkTypes);
  }

  /** Has the loop count the common frames; sees to what it leaves or finds. */
  #runLoop({ header, wireBytes }: FlowLoop, frames: Frames, count: number, linkTypes: Int32Array): void {
    const { table } = this;
    const packet = this.#packet;
    header[H_CURSOR] = 0;
    header[H_END] = count;
    header[H_LANE] = 0;
    header[H_LANES_FILLED] = 0;
    header[H_COUNTED] = 0;
    wireBytes[0] = 0;
    header[H_FOLLOW_ALL] = this.#follow === 'all' ? 1 : 0;
    for (;;) {
      header[H_WATCH] = this.halves.watch;
      const stopped = table.runLoop();
      if (stopped === LOOP_DONE) break;
      const frame = header[H_FRAME]!;
      this.#decode(packet, frames, frame, linkTypes);
      if (stopped === LOOP_LEFT) this.observe(packet, frames.interfaceId[frame]!);
      else {
        table.direction = header[H_DIRECTION]!;
        table.isNew = header[H_IS_NEW] === 1;
        this.#read(packet, header[H_SLOT]!);
      }
    }
    this.frames += header[H_COUNTED]!;
    this.bytes += wireBytes[0]!;
  }

  /** Counts the frames [from, from + count) of a block, `count` at most `LANES` (decode/lanes.ts), and reads of them what there is to read. */
  observeFrames(frames: Frames, from: number, count: number, linkTypes: Int32Array): void {
    const { table } = this;
    const { lanes } = table;
    const { words: lane } = lanes;
    lanes.read(frames, from, count, linkTypes);
    table.prepare(count, frames.interfaceId, from);
    const packet = this.#packet;
    for (let i = 0; i < count; i++) {
      const l = i * LANE_WORDS;
      const kind = lane[l + L_KIND]!;
      const frame = from + i;
      if (kind === -1) {
        this.#decode(packet, frames, frame, linkTypes);
        this.observe(packet, frames.interfaceId[frame]!);
        continue;
      }
      this.frames++;
      const wire = frames.wireLength[frame]!;
      this.bytes += wire;
      const slot = table.observeLane(i);
      if (table.isNew) this.#mark(slot, lane[l + L_PACKET_TYPE]!);
      if ((kind & M_PROTOCOL) === IPPROTO_TCP) {
        const w = slot * SLOT_WORDS;
        const { words } = table;
        const toPair = words[w + W_OTHER_HALF] === -1 && this.halves.concerns(lane, l, slot);
        if (!toPair && !isToFollow(words, w, lane[l + L_PAYLOAD]!, lane[l + L_TCP]!)) continue;
      } else {
        const ports = lane[l + L_PORTS]!;
        if (!isDnsPort(ports >>> 16) && !isDnsPort(ports & 0xffff)) continue;
      }
      this.#decode(packet, frames, frame, linkTypes);
      this.#read(packet, slot);
    }
  }

  #decode(
    packet: Packet,
    { bytes, view, offset, capturedLength, wireLength, timeNs, interfaceId }: Frames,
    frame: number,
    linkTypes: Int32Array,
  ): void {
    const linkType = linkTypes[interfaceId[frame]!]!;
    decodeFrame(packet, linkType, bytes, view, offset[frame]!, capturedLength[frame]!, wireLength[frame]!, timeNs[frame]!);
  }

  /** Counts one decoded frame and reads of it what there is to read. */
  observe(packet: Packet, interfaceId: number): void {
    this.frames++;
    this.bytes += packet.wireLength;
    if (packet.ipVersion === 0) {
      this.framesWithoutIp++;
      return;
    }
    identify(packet);
    if (packet.fragment && packet.fragmentOffset > 0) {
      if (!this.#fragments.restore(packet)) this.strayFragments++;
    } else if (packet.fragment) this.#fragments.remember(packet);
    if (packet.quoteOffset !== 0 && this.#countError(packet)) return;
    const { table } = this;
    const slot = table.observe(packet, interfaceId);
    if (table.isNew) this.#begin(packet, slot);
    this.#read(packet, slot);
  }

  /** Beyond counting: halves, payload, DNS. */
  #read(packet: Packet, slot: number): void {
    const w = slot * SLOT_WORDS;
    const { words } = this.table;
    if (packet.protocol === IPPROTO_TCP) {
      if (words[w + W_OTHER_HALF] === -1) this.#pair(packet, slot, -1);
      if ((words[w + W_META]! & M_IGNORED) === 0) this.#followPayload(packet, slot);
    } else if (packet.protocol === IPPROTO_UDP && (isDnsPort(packet.srcPort) || isDnsPort(packet.dstPort))) this.#readDns(packet, slot);
  }

  /** Tells the followers that nothing comes any more. */
  finish(): void {
    for (const tracker of this.#trackers) tracker?.close();
  }

  /**
   * Forgets flows with all that hangs on them; the others get new numbers. The halves of one connection must go or stay together.
   *
   * @param keep 1 for each slot that stays, else 0
   * @returns the new number of each slot, -1 of those that are gone
   */
  forget(keep: Uint8Array): Int32Array {
    const { table } = this;
    const extras: FlowExtra[] = [{}];
    const notes = new DnsNotes();
    const trackers: (ConnectionTracker | undefined)[] = [undefined];
    const places = new Map<number, number>();
    for (let slot = 0; slot < table.count; slot++) {
      const w = slot * SLOT_WORDS;
      const { words } = table;
      const follower = words[w + W_FOLLOWER]!;
      if (keep[slot] !== 1) {
        const tracker = this.#trackers[follower];
        if (tracker === undefined) continue;
        // Two halves have one follower.
        this.#trackers[follower] = undefined;
        tracker.close();
        this.#followed--;
        continue;
      }
      if (follower !== 0) {
        let place = places.get(follower);
        if (place === undefined) {
          place = trackers.push(this.#trackers[follower]) - 1;
          places.set(follower, place);
        }
        words[w + W_FOLLOWER] = place;
      }
      const extra = words[w + W_EXTRA]!;
      if (extra > 0) words[w + W_EXTRA] = extras.push(this.#extras[extra]!) - 1;
      else if (extra < 0) words[w + W_EXTRA] = -notes.keepFrom(this.#dnsNotes, -extra);
    }
    this.#extras = extras;
    this.#dnsNotes = notes;
    this.#trackers = trackers;
    const moved = table.forget(keep);
    this.halves.renumber(moved);
    return moved;
  }

  #begin(packet: Packet, slot: number): void {
    this.#mark(slot, packet.packetType);
    if (packet.tunnel !== 0) this.#extra(slot).tunnel = tunnelOf(packet);
    if (packet.protocol === IPPROTO_ICMP || packet.protocol === IPPROTO_ICMPV6)
      this.table.words[slot * SLOT_WORDS + W_ISN_A] = (packet.icmpType << 8) | packet.icmpCode;
  }

  /** Whether the first packet left from here or came to us, where the capture tells. */
  #mark(slot: number, packetType: number): void {
    const w = slot * SLOT_WORDS + W_META;
    const { words } = this.table;
    if (packetType === PACKET_OUTGOING) words[w] = words[w]! | M_FROM_US;
    else if (packetType === 0) words[w] = words[w]! | M_TO_US;
  }

  #extra(slot: number): FlowExtra {
    const { words } = this.table;
    const w = slot * SLOT_WORDS;
    let index = words[w + W_EXTRA]!;
    if (index <= 0) {
      index = this.#extras.push(index === 0 ? {} : this.#noted(index)) - 1;
      words[w + W_EXTRA] = index;
    }
    return this.#extras[index]!;
  }

  /** What the DNS message says that is kept for a slot. */
  #noted(index: number): FlowExtra {
    const extra: FlowExtra = {};
    const message = this.#dnsNotes.read(-index);
    if (message !== undefined) addDns(extra, message);
    return extra;
  }

  #pair(packet: Packet, slot: number, dnsId: number): void {
    const { table } = this;
    const other = this.halves.observe(packet, slot, dnsId);
    if (other === -1) return;
    // One connection, one follower: the half that has none takes the other's.
    const { words } = table;
    const mine = words[slot * SLOT_WORDS + W_FOLLOWER]!;
    const theirs = words[other * SLOT_WORDS + W_FOLLOWER]!;
    if (theirs !== 0) words[slot * SLOT_WORDS + W_FOLLOWER] = theirs;
    else if (mine !== 0) words[other * SLOT_WORDS + W_FOLLOWER] = mine;
  }

  /** An ICMP error belongs to the flow that it quotes. Returns false when no such flow is known: then it is a flow of its own. */
  #countError(packet: Packet): boolean {
    const quoted = this.#quoted;
    if (!decodeQuoted(packet, quoted) || quoted.ipVersion === 0) return false;
    identify(quoted);
    const { table } = this;
    const slot = table.find(quoted);
    if (slot === -1) return false;
    const w = slot * SLOT_WORDS + W_META;
    table.words[w] = table.words[w]! | M_UNREACHABLE;
    const extra = this.#extra(slot);
    extra.icmp ??= { type: packet.icmpType, code: packet.icmpCode };
    return true;
  }

  #readDns(packet: Packet, slot: number): void {
    if (packet.payloadCaptured === 0) return;
    const { bytes, payloadOffset: start, payloadLength } = packet;
    const end = start + packet.payloadCaptured;
    if (this.#noteDns(packet, slot, end)) return;
    const message = decodeDns(bytes, start, end, start + payloadLength);
    if (message === undefined) return;
    const { words } = this.table;
    if (words[slot * SLOT_WORDS + W_OTHER_HALF] === -1) this.#pair(packet, slot, message.id);
    const other = words[slot * SLOT_WORDS + W_OTHER_HALF]!;
    addDns(this.#extra(message.response && other !== -1 ? Math.min(slot, other) : slot), message);
  }

  /** Keeps a simple message for later, as long as its flow has met no other; false where it must be read now. Comes to the same as `addDns`. */
  #noteDns(packet: Packet, slot: number, end: number): boolean {
    const { bytes, payloadOffset: start, payloadLength } = packet;
    const w = slot * SLOT_WORDS;
    const { words } = this.table;
    const kept = -words[w + W_EXTRA]!;
    if (kept < 0 || words[w + W_OTHER_HALF] !== -1 || !this.#dnsNotes.isSimple(bytes, start, end, payloadLength)) return false;
    this.#pair(packet, slot, (bytes[start]! << 8) | bytes[start + 1]!);
    if (words[w + W_OTHER_HALF] !== -1) return false;
    const answers = (bytes[start + 2]! & DNS_RESPONSE) !== 0 && kept !== 0;
    if (kept === 0 || (answers && !this.#dnsNotes.isResponse(kept) && this.#dnsNotes.sameQuestion(kept, bytes, start, end)))
      words[w + W_EXTRA] = -this.#dnsNotes.keep(bytes, start, end, payloadLength);
    return true;
  }

  #followPayload(packet: Packet, slot: number): void {
    const { table } = this;
    const w = slot * SLOT_WORDS;
    const { words } = table;
    let index = words[w + W_FOLLOWER]!;
    if (index === 0) {
      if (packet.payloadLength === 0) return;
      const readable = this.#follow === 'all' || (packet.payloadCaptured > 0 && packet.bytes[packet.payloadOffset] === TLS_HANDSHAKE);
      if (readable && this.#followed >= this.#followedMax) this.unfollowed++;
      if (!readable || this.#followed >= this.#followedMax) {
        words[w + W_META] = words[w + W_META]! | M_IGNORED;
        return;
      }
      index = this.#newTracker(slot);
    } else if (packet.payloadLength === 0 && (packet.tcpFlags & (TCP_FIN | TCP_RST)) === 0) return;
    const tracker = this.#trackers[index]!;
    tracker.observe(this.#clientIsA(slot) === (table.direction === 0) ? 0 : 1, packet);
    if (this.#follow === 'hello' && tracker.tls?.serverHello !== undefined) words[w + W_META] = words[w + W_META]! | M_IGNORED;
  }

  /** Connections without payload need no follower: it is made with the first payload, and told then how the connection began. */
  #newTracker(slot: number): number {
    const tracker = new ConnectionTracker(this.#budget);
    const { words } = this.table;
    const w = slot * SLOT_WORDS;
    const other = words[w + W_OTHER_HALF]!;
    const clientIsA = this.#clientIsA(slot);
    if (other === -1) {
      this.#tellSyn(tracker, 0, slot, clientIsA ? 0 : 1);
      this.#tellSyn(tracker, 1, slot, clientIsA ? 1 : 0);
    } else {
      this.#tellSyn(tracker, clientIsA ? 0 : 1, slot, 0);
      this.#tellSyn(tracker, clientIsA ? 1 : 0, other, 0);
    }
    this.#followed++;
    const index = this.#trackers.push(tracker) - 1;
    words[w + W_FOLLOWER] = index;
    if (other !== -1) words[other * SLOT_WORDS + W_FOLLOWER] = index;
    return index;
  }

  #tellSyn(tracker: ConnectionTracker, direction: 0 | 1, slot: number, side: 0 | 1): void {
    const { words } = this.table;
    const w = slot * SLOT_WORDS;
    if ((words[w + W_META]! & (M_ISN_A << side)) === 0) return;
    tracker.observe(direction, {
      ...NO_PAYLOAD,
      timeNs: this.table.doubles[slot * SLOT_DOUBLES + D_FIRST]!,
      seq: words[w + W_ISN_A + side]!,
      ack: 0,
      tcpFlags: TCP_SYN,
    });
  }

  /** Did A open the connection? Where nobody's SYN was seen the smaller port is taken for the server's; the follower corrects it when the bytes say otherwise. */
  #clientIsA(slot: number): boolean {
    const { words } = this.table;
    const meta = words[slot * SLOT_WORDS + W_META]!;
    if ((meta & (M_SYN_A | M_SYN_ACK_B)) !== 0) return true;
    if ((meta & (M_SYN_B | M_SYN_ACK_A)) !== 0) return false;
    const ports = words[slot * SLOT_WORDS + W_PORTS]!;
    return ports >>> 16 >= (ports & 0xffff);
  }
}
