/**
 * HTTP/2 frames of one direction of a connection, with their header blocks decoded.
 *
 * In      bytes in order, in pieces of any size; what is missing, by its length.
 * Out     events: header blocks, data lengths, resets. No body byte is kept.
 * Bounds  a header block of at most 64 KiB, 64 fields of it; the table of HPACK.
 * Source  RFC 9113 (frames: sections 4 and 6), RFC 7541.
 */
import type { HeaderField } from './header-field.ts';
import { HpackDecoder } from './hpack.ts';

export const HTTP2_PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
export const HTTP2_FRAME_HEADER_LEN = 9;

const DATA = 0;
const HEADERS = 1;
const PRIORITY = 2;
const RST_STREAM = 3;
const SETTINGS = 4;
const PUSH_PROMISE = 5;
const PING = 6;
const GOAWAY = 7;
const WINDOW_UPDATE = 8;
const CONTINUATION = 9;

const END_STREAM = 0x1;
const ACK = 0x1;
const END_HEADERS = 0x4;
const PADDED = 0x8;
const HAS_PRIORITY = 0x20;

const MAX_BLOCK = 65_536;
/** What receivers accept unless they say otherwise. */
const DEFAULT_MAX_FRAME = 16_384;
const MAX_SETTINGS = 32;
const UNKNOWN_PADDING = -1;

export type Http2Event =
  | {
      readonly kind: 'headers';
      readonly streamId: number;
      readonly fields: readonly HeaderField[];
      /** False when a field that is not listed may have been sent. */
      readonly fieldsComplete: boolean;
      readonly endStream: boolean;
      /** First byte of the HEADERS frame. */
      readonly startNs: number;
      /** Bytes of the compressed block. */
      readonly blockLength: number;
    }
  /** `length`: without padding; `undefined` when the pad length is missing. */
  | { readonly kind: 'data'; readonly streamId: number; readonly length: number | undefined; readonly endStream: boolean }
  | { readonly kind: 'reset'; readonly streamId: number; readonly code: number }
  | { readonly kind: 'goaway'; readonly lastStreamId: number; readonly code: number }
  | { readonly kind: 'settings'; readonly ack: boolean; readonly values: readonly { readonly id: number; readonly value: number }[] }
  /** Bytes are missing, or are no HTTP/2: what follows is read again from a segment that begins with a frame. */
  | { readonly kind: 'lost' };

/** The preface of a client, as far as it goes: `'incomplete'` while every byte fits. */
export function looksLikeHttp2Preface(bytes: Uint8Array, start: number, end: number): boolean | 'incomplete' {
  const length = Math.min(end - start, HTTP2_PREFACE.length);
  for (let i = 0; i < length; i++) if (bytes[start + i] !== HTTP2_PREFACE.charCodeAt(i)) return false;
  return length === HTTP2_PREFACE.length ? true : 'incomplete';
}

function fitsHeader(type: number, flags: number, length: number, streamId: number): boolean {
  switch (type) {
    case DATA:
      return streamId > 0 && (flags & ~(END_STREAM | PADDED)) === 0 && length <= DEFAULT_MAX_FRAME;
    case HEADERS:
      return (
        streamId > 0 && (flags & ~(END_STREAM | END_HEADERS | PADDED | HAS_PRIORITY)) === 0 && length > 0 && length <= DEFAULT_MAX_FRAME
      );
    case PRIORITY:
      return streamId > 0 && length === 5;
    case RST_STREAM:
      return streamId > 0 && flags === 0 && length === 4;
    case SETTINGS:
      return streamId === 0 && (flags & ~ACK) === 0 && (flags === ACK ? length === 0 : length % 6 === 0 && length <= 6 * MAX_SETTINGS);
    case PING:
      return streamId === 0 && (flags & ~ACK) === 0 && length === 8;
    case GOAWAY:
      return streamId === 0 && flags === 0 && length >= 8 && length <= 4096;
    case WINDOW_UPDATE:
      return flags === 0 && length === 4;
    default:
      return false;
  }
}

/** Does a server that speaks first begin with these bytes? Its preface is a SETTINGS frame. Source: RFC 9113 section 3.4. */
export function looksLikeHttp2ServerPreface(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < HTTP2_FRAME_HEADER_LEN) return false;
  const length = (bytes[start]! << 16) | (bytes[start + 1]! << 8) | bytes[start + 2]!;
  return bytes[start + 3] === SETTINGS && bytes[start + 4] === 0 && fitsHeader(SETTINGS, 0, length, uint32(bytes, start + 5));
}

/**
 * Is `[start, end)` a row of whole, well-formed frames, and nothing else? For finding the place in a connection that was joined late: a segment that is, begins with a frame.
 * A frame with padding, an extension, or one that goes on in the next segment is not recognised.
 */
export function isHttp2Frames(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    if (end - at < HTTP2_FRAME_HEADER_LEN || (bytes[at + 5]! & 0x80) !== 0) return false;
    const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    if (!fitsHeader(bytes[at + 3]!, bytes[at + 4]!, length, uint32(bytes, at + 5))) return false;
    at += HTTP2_FRAME_HEADER_LEN + length;
  }
  return at === end && end > start;
}

function uint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

const EMPTY = new Uint8Array(0);

/** `preface`: the client's, not complete yet. `lost`: waiting for a segment that begins with a frame. */
type State = 'preface' | 'header' | 'kept' | 'passed' | 'lost';

export class Http2Decoder {
  readonly #hpack: HpackDecoder;
  #state: State;
  #events: Http2Event[] = [];
  /** Preface or frame header that is not complete yet. */
  readonly #head = new Uint8Array(HTTP2_PREFACE.length);
  #headLength = 0;
  #headStartNs = 0;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  /** Payload bytes to come of the current frame, and its length. */
  #left = 0;
  #length = 0;
  /** DATA: the pad length was read (or there is none), and its value with its own byte. */
  #padRead = false;
  #padding = 0;
  /** Payload of a control frame. */
  #payload: Uint8Array = EMPTY;
  #payloadLength = 0;
  /** Something of this payload, or of the header block, is missing. */
  #payloadCut = false;
  /** Header block that goes on in CONTINUATION frames. */
  #block: Uint8Array | undefined;
  #blockLength = 0;
  #blockStream = 0;
  #blockEndStream = false;
  #blockPromised = false;
  #blockCut = false;
  #blockStartNs = 0;

  /** @param options `preface`: the direction begins with the client's preface. `midstream`: it began before; the place is found at the first segment that is a row of frames */
  constructor(options: { readonly preface: boolean; readonly midstream: boolean }) {
    this.#hpack = new HpackDecoder(options.midstream);
    this.#state = options.midstream ? 'lost' : options.preface ? 'preface' : 'header';
  }

  get lost(): boolean {
    return this.#state === 'lost';
  }

  /** How many of the next bytes hold nothing that is needed: call {@link skip} once when all of them have passed. */
  get skippable(): number {
    return this.#state === 'passed' && (this.#padRead || this.#type !== DATA) ? this.#left : 0;
  }

  /** Reads all of `bytes[start, end)`. `boundary`: a segment begins at `start`. */
  push(bytes: Uint8Array, start: number, end: number, timeNs: number, boundary: boolean): readonly Http2Event[] {
    this.#events = [];
    let at = start;
    if (this.#state === 'lost' && boundary && isHttp2Frames(bytes, start, end)) this.#state = 'header';
    while (at < end) {
      if (this.#state === 'header' || this.#state === 'preface') at = this.#readHead(bytes, at, end, timeNs);
      else if (this.#state === 'kept') at = this.#keep(bytes, at, end);
      else if (this.#state === 'passed') at = this.#pass(bytes, at, end);
      else break;
    }
    return this.#events;
  }

  /** All {@link skippable} bytes have passed. */
  skip(): readonly Http2Event[] {
    this.#events = [];
    this.#left = 0;
    this.#frameEnd();
    return this.#events;
  }

  /** The next `length` bytes are missing. Within the payload of one frame nothing else is lost than that. */
  gap(length: number): readonly Http2Event[] {
    this.#events = [];
    if ((this.#state !== 'kept' && this.#state !== 'passed') || length > this.#left) {
      this.#lose();
      return this.#events;
    }
    this.#left -= length;
    this.#payloadCut = true;
    if (!this.#padRead) {
      this.#padRead = true;
      this.#padding = UNKNOWN_PADDING;
    }
    if (this.#left === 0) this.#frameEnd();
    return this.#events;
  }

  #lose(): void {
    if (this.#state === 'lost') return;
    this.#state = 'lost';
    this.#headLength = 0;
    this.#block = undefined;
    this.#payloadLength = 0;
    this.#hpack.forget();
    this.#events.push({ kind: 'lost' });
  }

  #readHead(bytes: Uint8Array, start: number, end: number, timeNs: number): number {
    if (this.#headLength === 0) this.#headStartNs = timeNs;
    const size = this.#state === 'preface' ? HTTP2_PREFACE.length : HTTP2_FRAME_HEADER_LEN;
    const length = Math.min(size - this.#headLength, end - start);
    for (let i = 0; i < length; i++) this.#head[this.#headLength++] = bytes[start + i]!;
    if (this.#headLength < size) return start + length;
    this.#headLength = 0;
    if (this.#state === 'preface') {
      this.#state = 'header';
      if (looksLikeHttp2Preface(this.#head, 0, size) !== true) this.#lose();
    } else this.#beginFrame();
    return start + length;
  }

  #beginFrame(): void {
    const head = this.#head;
    this.#length = (head[0]! << 16) | (head[1]! << 8) | head[2]!;
    this.#left = this.#length;
    this.#type = head[3]!;
    this.#flags = head[4]!;
    this.#streamId = uint32(head, 5) & 0x7fff_ffff;
    this.#payloadLength = 0;
    this.#payloadCut = false;
    this.#padding = 0;
    this.#padRead = this.#type !== DATA || (this.#flags & PADDED) === 0;
    const inBlock = this.#block !== undefined;
    const fits = inBlock
      ? this.#type === CONTINUATION && this.#streamId === this.#blockStream
      : this.#type !== CONTINUATION && ((this.#type !== HEADERS && this.#type !== DATA) || this.#streamId !== 0);
    if (!fits) {
      this.#lose();
      return;
    }
    const kept =
      this.#type !== DATA && this.#type !== PRIORITY && this.#type <= CONTINUATION && this.#type !== PING && this.#type !== WINDOW_UPDATE;
    const strange = this.#type > CONTINUATION && this.#length > DEFAULT_MAX_FRAME;
    if (strange || (kept && this.#length > MAX_BLOCK)) {
      this.#lose();
      return;
    }
    this.#state = kept ? 'kept' : 'passed';
    if (kept && this.#payload.length < this.#length) this.#payload = new Uint8Array(this.#length);
    if (this.#left === 0) this.#frameEnd();
  }

  #keep(bytes: Uint8Array, start: number, end: number): number {
    const length = Math.min(this.#left, end - start);
    // after a missing part the rest of the payload is of no use
    if (!this.#payloadCut) {
      this.#payload.set(bytes.subarray(start, start + length), this.#payloadLength);
      this.#payloadLength += length;
    }
    this.#left -= length;
    if (this.#left === 0) this.#frameEnd();
    return start + length;
  }

  #pass(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    if (!this.#padRead) {
      this.#padRead = true;
      this.#padding = bytes[at++]! + 1;
      this.#left--;
    }
    const length = Math.min(this.#left, end - at);
    this.#left -= length;
    if (this.#left === 0) this.#frameEnd();
    return at + length;
  }

  #frameEnd(): void {
    this.#state = 'header';
    const type = this.#type;
    if (type === DATA) {
      const length = this.#padding === UNKNOWN_PADDING ? undefined : Math.max(0, this.#length - this.#padding);
      this.#events.push({ kind: 'data', streamId: this.#streamId, length, endStream: (this.#flags & END_STREAM) !== 0 });
    } else if (type === HEADERS || type === PUSH_PROMISE) this.#beginBlock();
    else if (type === CONTINUATION) this.#addToBlock(0, this.#payloadLength);
    else if (type === RST_STREAM) {
      if (this.#payloadLength >= 4) this.#events.push({ kind: 'reset', streamId: this.#streamId, code: uint32(this.#payload, 0) });
    } else if (type === GOAWAY) {
      if (this.#payloadLength >= 8)
        this.#events.push({ kind: 'goaway', lastStreamId: uint32(this.#payload, 0) & 0x7fff_ffff, code: uint32(this.#payload, 4) });
    } else if (type === SETTINGS) this.#settings();
  }

  #settings(): void {
    const values: { id: number; value: number }[] = [];
    for (let at = 0; at + 6 <= this.#payloadLength && values.length < MAX_SETTINGS; at += 6)
      values.push({ id: (this.#payload[at]! << 8) | this.#payload[at + 1]!, value: uint32(this.#payload, at + 2) });
    this.#events.push({ kind: 'settings', ack: (this.#flags & ACK) !== 0, values });
  }

  #beginBlock(): void {
    let start = 0;
    let end = this.#payloadLength;
    if ((this.#flags & PADDED) !== 0) {
      const padding = this.#payload[0]!;
      start = 1;
      // of a cut frame the padding is what was cut first
      if (!this.#payloadCut) end -= padding;
      else end = Math.min(end, this.#length - padding);
    }
    if (this.#type === PUSH_PROMISE) start += 4;
    else if ((this.#flags & HAS_PRIORITY) !== 0) start += 5;
    if (start > end && !this.#payloadCut) {
      this.#lose();
      return;
    }
    this.#block = EMPTY;
    this.#blockLength = 0;
    this.#blockStream = this.#streamId;
    this.#blockEndStream = (this.#flags & END_STREAM) !== 0;
    this.#blockPromised = this.#type === PUSH_PROMISE;
    this.#blockCut = false;
    this.#blockStartNs = this.#headStartNs;
    this.#addToBlock(start, Math.max(start, end));
  }

  /** Adds `payload[start, end)` to the header block and decodes it when it is complete. */
  #addToBlock(start: number, end: number): void {
    if (this.#blockLength + end - start > MAX_BLOCK) {
      this.#lose();
      return;
    }
    const last = (this.#flags & END_HEADERS) !== 0;
    // a part after a missing one cannot be read
    const usable = this.#blockCut ? start : end;
    this.#blockCut ||= this.#payloadCut;
    if (last && this.#blockLength === 0) {
      this.#blockLength = usable - start;
      this.#decodeBlock(this.#payload, start, usable);
      return;
    }
    if (this.#block!.length < this.#blockLength + usable - start) {
      const grown = new Uint8Array(Math.max(1024, (this.#blockLength + usable - start) * 2));
      grown.set(this.#block!.subarray(0, this.#blockLength));
      this.#block = grown;
    }
    this.#block!.set(this.#payload.subarray(start, usable), this.#blockLength);
    this.#blockLength += usable - start;
    if (last) this.#decodeBlock(this.#block!, 0, this.#blockLength);
  }

  #decodeBlock(bytes: Uint8Array, start: number, end: number): void {
    const block = this.#hpack.decode(bytes, start, end, this.#blockCut);
    this.#block = undefined;
    if (this.#blockPromised) return;
    this.#events.push({
      kind: 'headers',
      streamId: this.#blockStream,
      fields: block.fields,
      fieldsComplete: block.complete,
      endStream: this.#blockEndStream,
      startNs: this.#blockStartNs,
      blockLength: end - start,
    });
  }
}
