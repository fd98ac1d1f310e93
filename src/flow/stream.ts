/**
 * One direction of a TCP connection, put in order.
 *
 * In      segments in the order of the capture: sequence number, time, the bytes that were captured and the length that was on the wire.
 * Out     calls of a consumer: bytes in order, and what is missing as gaps of known length. Every byte of the stream is told once, by one of the calls.
 * Bounds  segments that came too early are copied and kept: at most 64 of them and 64 KiB, and no more than the shared budget; then the hole before them is given up.
 *         The hole is also given up when the other side acknowledges bytes beyond it: it got what the capture missed.
 * Skips   a consumer that needs no bytes for a while (a body, a TLS record) says how many; these are counted only, cost next to nothing, and may be missing.
 */
/** What the stream reads of a decoded packet; `Packet` of decode fits. */
export interface Segment {
  readonly timeNs: number;
  readonly seq: number;
  readonly ack: number;
  readonly bytes: Uint8Array;
  readonly payloadOffset: number;
  readonly payloadCaptured: number;
  readonly payloadLength: number;
}

/**
 * Each call answers how many of the following bytes are only to be counted (0: give me all; Infinity: never again).
 * `timeNs` never runs backwards within a direction.
 */
export interface StreamConsumer {
  /** `bytes[start, end)` are next. `boundary`: a segment begins at `start`. Valid during the call only. */
  onBytes(stream: TcpStream, bytes: Uint8Array, start: number, end: number, timeNs: number, boundary: boolean): number;
  /** The next `length` bytes are missing: cut by the snapshot length, or never captured. */
  onGap(stream: TcpStream, length: number, timeNs: number): number;
  /** The bytes to be counted only have all passed. */
  onSkipped(stream: TcpStream, timeNs: number): number;
}

/** Bytes that all streams of a run may hold together while they wait for a hole to be filled or a head to be completed. */
export interface BufferBudget {
  left: number;
}

interface Pending {
  readonly seq: number;
  readonly ack: number;
  readonly timeNs: number;
  readonly bytes: Uint8Array;
  readonly wireLength: number;
}

const MAX_PENDING_SEGMENTS = 64;
const MAX_PENDING_BYTES = 65_536;
/** A segment further ahead than this while bytes are only counted is not believed at once. */
const MAX_JUMP = 1 << 26;
/** No window is wider (RFC 7323 section 2.3). */
const MAX_WINDOW = 1 << 30;

export class TcpStream {
  /** 0: from the client, 1: from the server. */
  readonly direction: 0 | 1;
  /** Was the first sequence number known, or anything received? */
  begun = false;
  /** Sequence number of the byte to come, as int32 bits. */
  next = 0;
  /** Bytes told to the consumer so far; during `onBytes`, the offset of `start`. */
  offset = 0;
  /** Acknowledgement number of the segment that is being told: what its sender had received when it sent it. */
  ack = 0;
  /** When the last byte was told. */
  lastNs = Number.NEGATIVE_INFINITY;
  /** Segments that held nothing new, or lay outside of any window. */
  repeated = 0;
  /** Bytes that were on the wire and were never captured, outside of what was skipped. */
  missing = 0;
  /** During `onGap`: the bytes that are missing were sent after this. */
  gapFromNs = Number.NEGATIVE_INFINITY;
  #first = 0;
  #skip = 0;
  #pending: Pending[] | undefined;
  #pendingBytes = 0;
  readonly #consumer: StreamConsumer;
  readonly #budget: BufferBudget;

  constructor(direction: 0 | 1, consumer: StreamConsumer, budget: BufferBudget) {
    this.direction = direction;
    this.#consumer = consumer;
    this.#budget = budget;
  }

  /**
   * A caller may leave out segments that end before this sequence number: they hold nothing but what is only counted. The one that reaches it must be given.
   * Equal to `next` when every byte is wanted.
   */
  get nextHeadSeq(): number {
    return (this.next + Math.min(this.#skip, MAX_JUMP)) | 0;
  }

  /** How many of the next bytes are only counted. */
  get skipping(): number {
    return this.#skip;
  }

  /** The first byte will have this sequence number (the SYN's plus one). Ignored once the stream has begun. */
  begin(seq: number): void {
    if (this.begun) return;
    this.begun = true;
    this.#first = seq | 0;
    this.next = seq | 0;
  }

  /** Sequence number of the byte at this offset, as int32 bits: whoever captures the connection, and from when on, it is the same. */
  seqAt(offset: number): number {
    return (this.#first + offset) | 0;
  }

  /** Takes a segment with payload. A stream that has not begun begins with it. */
  push(segment: Segment): void {
    const wireLength = segment.payloadLength;
    if (wireLength <= 0) return;
    if (!this.begun) this.begin(segment.seq);
    const ahead = (segment.seq - this.next) | 0;
    const start = segment.payloadOffset;
    const end = start + Math.min(segment.payloadCaptured, wireLength);
    if (ahead <= 0 || (ahead <= this.#skip && ahead <= MAX_JUMP)) this.ack = segment.ack;
    if (ahead === 0) this.#deliver(segment.timeNs, segment.bytes, start, end, wireLength, true);
    else if (ahead < 0) this.#overlap(segment.timeNs, segment.bytes, start, end, wireLength, -ahead);
    else if (ahead <= this.#skip && ahead <= MAX_JUMP) {
      this.#count(ahead, segment.timeNs);
      this.#deliver(segment.timeNs, segment.bytes, start, end, wireLength, true);
    } else {
      if (ahead <= MAX_WINDOW) this.#hold(segment, start, end);
      else this.repeated++;
      return;
    }
    if (this.#pending !== undefined) this.#drain();
  }

  /** The other side acknowledged everything before `ack`: holes before it will not be filled any more. */
  acknowledge(ack: number, timeNs: number): void {
    if (!this.begun) return;
    while (this.#pending !== undefined && ((ack - this.#pending[0]!.seq) | 0) >= 0) this.#giveUp();
    const beyond = (ack - this.next) | 0;
    if (beyond > 0 && beyond <= MAX_JUMP) this.#missed(beyond, timeNs);
  }

  /** Nothing will come any more: gives up all holes. */
  flush(): void {
    while (this.#pending !== undefined) this.#giveUp();
  }

  /** Sets how many of the next bytes are only counted; for a consumer that decides outside of its calls. */
  skip(length: number): void {
    this.#skip = length;
  }

  #overlap(timeNs: number, bytes: Uint8Array, start: number, end: number, wireLength: number, known: number): void {
    if (known >= wireLength) this.repeated++;
    else this.#deliver(timeNs, bytes, Math.min(start + known, end), end, wireLength - known, false);
  }

  #deliver(givenNs: number, bytes: Uint8Array, start: number, end: number, wireLength: number, boundary: boolean): void {
    const timeNs = givenNs > this.lastNs ? givenNs : this.lastNs;
    const before = this.lastNs;
    this.lastNs = timeNs;
    this.next = (this.next + wireLength) | 0;
    let at = start;
    let left = wireLength;
    let first = boundary;
    while (left > 0) {
      if (this.#skip > 0) {
        const length = Math.min(this.#skip, left);
        this.#skip -= length;
        this.offset += length;
        left -= length;
        at = Math.min(at + length, end);
        if (this.#skip === 0) this.#skip = this.#consumer.onSkipped(this, timeNs);
      } else if (at < end) {
        const skip = this.#consumer.onBytes(this, bytes, at, end, timeNs, first);
        this.offset += end - at;
        left -= end - at;
        at = end;
        this.#skip = skip;
      } else {
        this.missing += left;
        // Of a segment that was cut it is known when it was sent.
        this.gapFromNs = bytes === EMPTY ? before : timeNs;
        this.#skip = this.#consumer.onGap(this, left, timeNs);
        this.offset += left;
        left = 0;
      }
      first = false;
    }
  }

  /** Passes over `length` bytes that are only to be counted. */
  #count(length: number, timeNs: number): void {
    this.#skip -= length;
    this.offset += length;
    this.next = (this.next + length) | 0;
    if (this.#skip === 0) this.#skip = this.#consumer.onSkipped(this, Math.max(timeNs, this.lastNs));
  }

  /** The next `length` bytes will not come. */
  #missed(length: number, timeNs: number): void {
    this.#deliver(timeNs, EMPTY, 0, 0, length, false);
    if (this.#pending !== undefined) this.#drain();
  }

  #hold(segment: Segment, start: number, end: number): void {
    const list = this.#pending ?? [];
    let at = list.length;
    while (at > 0 && ((list[at - 1]!.seq - segment.seq) | 0) > 0) at--;
    const before = list[at - 1];
    if (before !== undefined && before.seq === segment.seq && before.wireLength >= segment.payloadLength) {
      this.repeated++;
      return;
    }
    const length = end - start;
    if (list.length >= MAX_PENDING_SEGMENTS || this.#pendingBytes + length > MAX_PENDING_BYTES || length > this.#budget.left) {
      this.flush();
      const hole = (segment.seq - this.next) | 0;
      if (hole > 0) this.#missed(hole, segment.timeNs);
      this.push(segment);
      return;
    }
    this.#pending = list;
    this.#pendingBytes += length;
    this.#budget.left -= length;
    list.splice(at, 0, {
      seq: segment.seq | 0,
      ack: segment.ack,
      timeNs: segment.timeNs,
      bytes: segment.bytes.slice(start, end),
      wireLength: segment.payloadLength,
    });
  }

  /** Delivers what waits and fits now. */
  #drain(): void {
    while (this.#pending !== undefined) {
      const first = this.#pending[0]!;
      const ahead = (first.seq - this.next) | 0;
      if (ahead > this.#skip || ahead > MAX_JUMP) return;
      this.#release();
      this.ack = first.ack;
      const length = first.bytes.length;
      if (ahead > 0) this.#count(ahead, first.timeNs);
      if (ahead < 0) this.#overlap(first.timeNs, first.bytes, 0, length, first.wireLength, -ahead);
      else this.#deliver(first.timeNs, first.bytes, 0, length, first.wireLength, true);
    }
  }

  /** The hole before the first waiting segment stays one. */
  #giveUp(): void {
    const first = this.#pending![0]!;
    const hole = (first.seq - this.next) | 0;
    if (hole > 0) this.#missed(hole, first.timeNs);
    else this.#drain();
  }

  #release(): void {
    const first = this.#pending!.shift()!;
    this.#pendingBytes -= first.bytes.length;
    this.#budget.left += first.bytes.length;
    if (this.#pending!.length === 0) this.#pending = undefined;
  }
}

const EMPTY = new Uint8Array(0);
