/**
 * Follows one TCP connection: puts both directions in order, finds the protocol, and tells the exchanges of HTTP, the hellos of TLS, and when how much was sent.
 *
 * In      the packets of both directions in the order of the capture: those with payload, and those with SYN, FIN or RST. Pure acknowledgements are not needed.
 * Out     `exchanges`, `tls`, `timeline`: as they stand, at any time.
 * Bounds  no body byte is kept; heads of at most 16 KiB while they are incomplete, 64 KiB of segments that came too early, each within the shared budget.
 *
 * A connection is midstream when neither SYN was seen: it is read from the first segment that begins with a start line, a TLS record or an HTTP/2 frame.
 */
import { looksLikeHttp2ServerPreface } from '../decode/http2.ts';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../decode/packet.ts';
import { type Detected, detect, detectMidstream } from './detect.ts';
import { type Conversation, type Exchange, ExchangeLog, type StreamEnd } from './http.ts';
import { Http1Conversation } from './http1.ts';
import { Http2Conversation } from './http2.ts';
import { type BufferBudget, type Segment, type StreamConsumer, TcpStream } from './stream.ts';
import { Timeline } from './timeline.ts';
import { TlsConversation, type TlsFacts } from './tls.ts';

/**
 * `none`: no byte of payload yet. `unknown`: bytes that do not tell (yet): joined late, or the first ones are missing.
 * `server-first`: the server spoke before the client did, and not HTTP/2. `http2`: with prior knowledge, or after `Upgrade: h2c`.
 */
export type ConnectionProtocol = 'none' | 'unknown' | 'http1' | 'http2' | 'tls' | 'server-first' | 'other';

/** What the tracker reads of a decoded TCP packet; `Packet` of decode fits. */
export interface TcpSegment extends Segment {
  readonly tcpFlags: number;
}

/** What one run may hold in incomplete heads and early segments, when nothing else is given. */
export const DEFAULT_BUDGET_BYTES = 64 * 1024 * 1024;

/** Holes that are told apart; later ones join the last. */
const MAX_HOLES = 256;

/** Something was sent in this time that nobody captured. */
export interface Hole {
  readonly fromNs: number;
  toNs: number;
}

/** Segments of a midstream connection that tell nothing, before it counts as something else. */
const MAX_MIDSTREAM_TRIES = 256;

export class ConnectionTracker implements StreamConsumer {
  /** When the first payload byte came, from the client and from the server. */
  firstClientByteNs: number | undefined;
  firstServerByteNs: number | undefined;
  /** Neither SYN was seen. */
  midstream = true;
  /** What was given as the server's turned out to be the client's: the exchanges and times are told the right way round. */
  reversed = false;
  /** Payload that was on the wire and was never captured, outside of bodies and records: what it was, nobody knows. In the order of time, at most 256. */
  readonly holes: Hole[] = [];
  readonly #log = new ExchangeLog();
  readonly #streams: readonly [TcpStream, TcpStream];
  readonly #budget: BufferBudget;
  #protocol: ConnectionProtocol = 'none';
  #conversation: Conversation | undefined;
  #tls: TlsFacts | undefined;
  #timeline: Timeline | undefined;
  /** First bytes of the client that do not tell the protocol yet. */
  #carry: Uint8Array | undefined;
  #carryNs = 0;
  #tries = 0;
  /** Sequence number after the last byte of each direction, once its FIN was seen. */
  #finSeq: [number | undefined, number | undefined] = [undefined, undefined];
  #ended: [boolean, boolean] = [false, false];
  #over = false;

  /** @param budget shared by all connections of a run */
  constructor(budget: BufferBudget = { left: DEFAULT_BUDGET_BYTES }) {
    this.#budget = budget;
    this.#streams = [new TcpStream(0, this, budget), new TcpStream(1, this, budget)];
  }

  get protocol(): ConnectionProtocol {
    return this.#conversation instanceof Http1Conversation && this.#conversation.upgraded ? 'http2' : this.#protocol;
  }

  /** Exchanges that were not taken, by index. */
  get exchanges(): readonly Exchange[] {
    return this.#log.kept;
  }

  /** How many exchanges there were, taken ones included. */
  get exchangeCount(): number {
    return this.#log.count;
  }

  /** Removes and returns the exchanges that will not change any more, by index. */
  takeDone(): Exchange[] {
    return this.#log.takeDone();
  }

  /** Forgets exchanges and turns that were settled or are of no use any more: all that ended before `beforeNs`. @param settleNs what was told and ended before is settled */
  forget(beforeNs: number, settleNs: number): void {
    this.#log.forget(beforeNs, settleNs);
    this.#timeline?.forgetTurns(beforeNs);
  }

  get tls(): TlsFacts | undefined {
    return this.#tls;
  }

  /** TLS: application data. Other protocols than HTTP: every byte. `undefined` until there is some. */
  get timeline(): Timeline | undefined {
    return this.#timeline;
  }

  /** Bytes of payload that were on the wire and were never captured, outside of bodies. */
  get missingBytes(): number {
    return this.#streams[0].missing + this.#streams[1].missing;
  }

  /** Sequence number, as int32 bits, up to which a direction was told or needs not be, and when the last of it came; `undefined` when nothing did. */
  end(direction: 0 | 1): { readonly seq: number; readonly atNs: number } | undefined {
    const { nextHeadSeq, lastNs, offset } = this.#streams[direction];
    return offset === 0 ? undefined : { seq: nextHeadSeq, atNs: lastNs };
  }

  /** Segments of a direction that end before this need not be given (see TcpStream). */
  nextHeadSeq(direction: 0 | 1): number {
    return this.#streams[direction].nextHeadSeq;
  }

  /**
   * Tells of a SYN that was not given to {@link observe}: the first payload byte of that side has the sequence number `isn + 1`. For a caller that begins to follow with the first payload.
   */
  begin(direction: 0 | 1, isn: number): void {
    this.midstream = false;
    this.#streams[direction].begin(isn + 1);
  }

  /** Takes the next packet. `direction` 0: sent by the client, 1: by the server. */
  observe(direction: 0 | 1, packet: TcpSegment): void {
    if (this.#over) return;
    const flags = packet.tcpFlags;
    const stream = this.#streams[direction];
    const other = this.#streams[1 - direction]!;
    if ((flags & TCP_SYN) !== 0) {
      this.#onSyn(stream, other, packet);
      return;
    }
    if ((flags & TCP_ACK) !== 0) {
      if (!other.begun) other.begin(packet.ack);
      else if (!this.#ended[1 - direction]) other.acknowledge(packet.ack, packet.timeNs);
    }
    if (packet.payloadLength > 0 && (flags & TCP_RST) === 0) stream.push(packet);
    if ((flags & (TCP_FIN | TCP_RST)) !== 0) this.#onEnd(direction, packet);
    if (this.#finSeq[direction] !== undefined && stream.next === this.#finSeq[direction]) this.#end(direction, 'finished');
  }

  /** Nothing will come any more: the connection was forgotten, or the recording ends. */
  close(): void {
    for (const direction of [0, 1] as const) this.#end(direction, 'cut');
  }

  #onSyn(stream: TcpStream, other: TcpStream, packet: TcpSegment): void {
    this.midstream = false;
    const dataSeq = (packet.seq + 1) | 0;
    stream.begin(dataSeq);
    if ((packet.tcpFlags & TCP_ACK) !== 0) other.begin(packet.ack);
    if (packet.payloadLength === 0) return;
    // TCP Fast Open: the data follows the SYN, which has a sequence number of its own
    const { timeNs, ack, bytes, payloadOffset, payloadCaptured, payloadLength } = packet;
    stream.push({ timeNs, seq: dataSeq, ack, bytes, payloadOffset, payloadCaptured, payloadLength });
  }

  #onEnd(direction: 0 | 1, packet: TcpSegment): void {
    if ((packet.tcpFlags & TCP_RST) !== 0) this.close();
    else {
      this.#finSeq[direction] = (packet.seq + packet.payloadLength) | 0;
      if (!this.#streams[direction].begun) this.#streams[direction].begin(packet.seq);
    }
  }

  #end(direction: 0 | 1, how: StreamEnd): void {
    if (this.#ended[direction]) return;
    this.#streams[direction].flush();
    this.#ended[direction] = true;
    const role = this.#role(direction);
    if (this.#conversation === undefined && role === 0 && this.#carry !== undefined)
      this.#settle(detect(this.#carry, 0, this.#carry.length, true));
    this.#conversation?.end(role, how);
    if (!this.#ended[1 - direction]) return;
    // what was found stays; what was needed to find it may go
    this.#protocol = this.protocol;
    this.#over = true;
    this.#conversation = undefined;
  }

  /** 0: the client, 1: the server, whichever way the caller took them. */
  #role(direction: 0 | 1): 0 | 1 {
    return this.reversed ? ((1 - direction) as 0 | 1) : direction;
  }

  onBytes(stream: TcpStream, bytes: Uint8Array, start: number, end: number, timeNs: number, boundary: boolean): number {
    const role = this.#role(stream.direction);
    if (this.#conversation !== undefined) {
      if (role === 1) this.firstServerByteNs ??= timeNs;
      else this.firstClientByteNs ??= timeNs;
      return this.#conversation.bytes(role, bytes, start, end, timeNs, boundary);
    }
    this.#sawByte(role, timeNs);
    if (this.#protocol === 'unknown') return this.#detectMidstream(stream.direction, bytes, start, end, timeNs, boundary);
    if (role === 1) {
      if (this.#carry !== undefined) this.#settle('other');
      else this.#settle(boundary && looksLikeHttp2ServerPreface(bytes, start, end) ? 'http2' : 'server-first');
      return this.#conversation!.bytes(role, bytes, start, end, timeNs, boundary);
    }
    return this.#detect(bytes, start, end, timeNs, boundary);
  }

  onGap(stream: TcpStream, length: number, timeNs: number): number {
    const role = this.#role(stream.direction);
    this.#noteHole(stream.gapFromNs, timeNs);
    if (this.#conversation === undefined) {
      if (this.#carry !== undefined) this.#settle(detect(this.#carry, 0, this.#carry.length, true));
      else if (this.#protocol === 'none') this.#protocol = 'unknown';
    }
    this.#sawByte(role, timeNs);
    if (this.#conversation !== undefined) return this.#conversation.gap(role, length, timeNs);
    this.#bursts().add(role, timeNs, length);
    return 0;
  }

  onSkipped(stream: TcpStream, timeNs: number): number {
    return this.#conversation === undefined ? 0 : this.#conversation.skipped(this.#role(stream.direction), timeNs);
  }

  #noteHole(fromNs: number, toNs: number): void {
    const last = this.holes.at(-1);
    if (last !== undefined && (this.holes.length >= MAX_HOLES || fromNs <= last.toNs)) last.toNs = Math.max(last.toNs, toNs);
    else this.holes.push({ fromNs, toNs });
  }

  #sawByte(role: 0 | 1, timeNs: number): void {
    if (this.midstream && this.#protocol === 'none') this.#protocol = 'unknown';
    if (role === 0) this.firstClientByteNs ??= timeNs;
    else this.firstServerByteNs ??= timeNs;
  }

  #bursts(): Timeline {
    this.#timeline ??= new Timeline();
    return this.#timeline;
  }

  #detect(bytes: Uint8Array, start: number, end: number, timeNs: number, boundary: boolean): number {
    const before = this.#carry;
    let found: Detected | 'incomplete';
    if (before === undefined) {
      found = detect(bytes, start, end, false);
      if (found === 'incomplete') {
        this.#carry = bytes.slice(start, end);
        this.#carryNs = timeNs;
      }
    } else {
      const joined = new Uint8Array(before.length + end - start);
      joined.set(before);
      joined.set(bytes.subarray(start, end), before.length);
      found = detect(joined, 0, joined.length, false);
      if (found === 'incomplete') this.#carry = joined;
    }
    if (found === 'incomplete') return 0;
    this.#settle(found);
    return this.#conversation!.bytes(0, bytes, start, end, timeNs, boundary && before === undefined);
  }

  #detectMidstream(direction: 0 | 1, bytes: Uint8Array, start: number, end: number, timeNs: number, boundary: boolean): number {
    const found = boundary ? detectMidstream(this.#role(direction), bytes, start, end) : undefined;
    if (found === undefined) {
      this.#bursts().add(this.#role(direction), timeNs, end - start);
      if (++this.#tries >= MAX_MIDSTREAM_TRIES) this.#settle('other');
      return 0;
    }
    if (found.reversed) {
      this.reversed = !this.reversed;
      const first = this.firstClientByteNs;
      this.firstClientByteNs = this.firstServerByteNs;
      this.firstServerByteNs = first;
      this.#sawByte(this.#role(direction), timeNs);
    }
    this.#settle(found.protocol, !found.fromStart);
    return this.#conversation!.bytes(this.#role(direction), bytes, start, end, timeNs, boundary);
  }

  /** The protocol is known: begins the conversation and gives it what was kept. */
  #settle(found: Detected | 'server-first' | 'incomplete', late = false): void {
    this.#protocol = found === 'incomplete' ? 'other' : found;
    const [client, server] = this.#streams;
    const streams: readonly [TcpStream, TcpStream] = this.reversed ? [server, client] : [client, server];
    if (found === 'http1') this.#conversation = new Http1Conversation(this.#log, streams, this.#budget, late);
    else if (found === 'http2') this.#conversation = new Http2Conversation(this.#log, { midstream: late });
    else if (found === 'tls') {
      const conversation = new TlsConversation(this.#bursts(), streams, this.#budget, late);
      this.#tls = conversation.facts;
      this.#conversation = conversation;
    } else this.#conversation = new OpaqueConversation(this.#bursts());
    if (this.#carry === undefined) return;
    // These bytes lie before the ones that the stream is telling now.
    client.offset -= this.#carry.length;
    this.#conversation.bytes(0, this.#carry, 0, this.#carry.length, this.#carryNs, true);
    client.offset += this.#carry.length;
    this.#carry = undefined;
  }
}

/** A protocol that is not read: every byte goes into the timeline. */
class OpaqueConversation implements Conversation {
  readonly #timeline: Timeline;

  constructor(timeline: Timeline) {
    this.#timeline = timeline;
  }

  bytes(direction: 0 | 1, _bytes: Uint8Array, start: number, end: number, timeNs: number): number {
    this.#timeline.add(direction, timeNs, end - start);
    return 0;
  }

  gap(direction: 0 | 1, length: number, timeNs: number): number {
    this.#timeline.add(direction, timeNs, length);
    return 0;
  }

  skipped(): number {
    return 0;
  }

  end(): void {}
}
