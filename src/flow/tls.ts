/**
 * TLS on one connection: the hellos, the certificates' names where they are in the clear, and a timeline of the application data.
 *
 * In TLS 1.3 the encrypted part of the handshake looks like application data; the timeline marks it as far as place and length tell.
 */
import type { ClientHello, ServerHello } from '../decode/tls.ts';
import {
  findLeafCertificate,
  parseClientHello,
  parseServerHello,
  parseTlsRecordHeader,
  TLS_ALERT,
  TLS_APPLICATION_DATA,
  TLS_CERTIFICATE,
  TLS_CHANGE_CIPHER_SPEC,
  TLS_CLIENT_HELLO,
  TLS_HANDSHAKE,
  TLS_HANDSHAKE_HEADER_LEN,
  TLS_RECORD_HEADER_LEN,
  TLS_SERVER_HELLO,
  tlsRecordOverhead,
} from '../decode/tls.ts';
import { certificateUris } from '../decode/x509-names.ts';
import type { Conversation } from './http.ts';
import { KeptBytes } from './kept-bytes.ts';
import type { BufferBudget, TcpStream } from './stream.ts';
import type { Burst, Timeline } from './timeline.ts';

export interface TlsFacts {
  clientHello: ClientHello | undefined;
  /** The last one: not that of a HelloRetryRequest once the real one came. */
  serverHello: ServerHello | undefined;
  helloRetried: boolean;
  /** The protocol that was agreed, TLS 1.2 only; in TLS 1.3 the answer is encrypted. */
  alpn: string | undefined;
  /** URI names of the leaf certificates, from the client and from the server; TLS 1.2 only, `undefined` where none was seen. */
  certificateUris: [string[] | undefined, string[] | undefined];
  /** The first alert in the clear. */
  alert: { readonly direction: 0 | 1; readonly level: number; readonly description: number } | undefined;
  /** First application data record, from the client and from the server. */
  firstApplicationDataNs: [number | undefined, number | undefined];
}

const MAX_HANDSHAKE = 65_536;
/** So many application data records of either side are told one by one: among them are the hidden handshake, the session tickets, and the first request and response. */
const FIRST_RECORDS = 8;
const TLS_AES_256_GCM_SHA384 = 0x1302;

class Side {
  readonly header = new Uint8Array(TLS_RECORD_HEADER_LEN);
  headerLength = 0;
  /** -1 while a header is read. */
  type = -1;
  left = 0;
  length = 0;
  startNs = 0;
  /** Offset in the stream after the byte that was read last. */
  offset = 0;
  /** Handshake messages in the clear, joined over records. */
  readonly handshake: KeptBytes;
  handshakeOver = false;
  encrypted = false;
  alertLevel = -1;
  /** The first application data records. */
  readonly first: Burst[] = [];
  lost: boolean;

  constructor(budget: BufferBudget, lost: boolean) {
    this.handshake = new KeptBytes(MAX_HANDSHAKE, budget);
    this.lost = lost;
  }
}

export class TlsConversation implements Conversation {
  readonly facts: TlsFacts = {
    clientHello: undefined,
    serverHello: undefined,
    helloRetried: false,
    alpn: undefined,
    certificateUris: [undefined, undefined],
    alert: undefined,
    firstApplicationDataNs: [undefined, undefined],
  };
  readonly #timeline: Timeline;
  readonly #streams: readonly [TcpStream, TcpStream];
  readonly #sides: readonly [Side, Side];
  #overhead = -1;

  constructor(timeline: Timeline, streams: readonly [TcpStream, TcpStream], budget: BufferBudget, midstream: boolean) {
    this.#timeline = timeline;
    this.#streams = streams;
    this.#sides = [new Side(budget, midstream), new Side(budget, midstream)];
    if (midstream) for (const side of this.#sides) side.handshakeOver = true;
  }

  bytes(direction: 0 | 1, bytes: Uint8Array, start: number, end: number, timeNs: number, boundary: boolean): number {
    const side = this.#sides[direction];
    let at = start;
    if (side.lost && !(boundary && this.#found(side, bytes, start, end))) {
      this.#timeline.add(direction, timeNs, end - start);
      return 0;
    }
    const { offset } = this.#streams[direction];
    while (at < end && !side.lost) {
      side.offset = offset + Math.min(end - start, at - start + (side.type === -1 ? TLS_RECORD_HEADER_LEN - side.headerLength : side.left));
      if (side.type === -1) at = this.#readHeader(direction, side, bytes, at, end, timeNs);
      else at = this.#readPayload(direction, side, bytes, at, end, timeNs);
    }
    if (at < end) this.#timeline.add(direction, timeNs, end - at);
    return this.#skippable(side);
  }

  gap(direction: 0 | 1, length: number, timeNs: number): number {
    const side = this.#sides[direction];
    if (side.lost || side.type === -1 || length > side.left) {
      this.#timeline.add(direction, timeNs, length + side.headerLength + side.length - side.left);
      this.#lose(direction, side);
      return 0;
    }
    side.left -= length;
    side.offset = this.#streams[direction].offset + length;
    if (side.type === TLS_HANDSHAKE) this.#endHandshake(direction, side);
    if (side.left === 0) this.#endRecord(direction, side, timeNs);
    return this.#skippable(side);
  }

  skipped(direction: 0 | 1, timeNs: number): number {
    const side = this.#sides[direction];
    side.left = 0;
    side.offset = this.#streams[direction].offset;
    this.#endRecord(direction, side, timeNs);
    return 0;
  }

  end(direction: 0 | 1): void {
    const side = this.#sides[direction];
    if (side.type !== -1 && side.length > side.left) this.#timeline.add(direction, side.startNs, side.length - side.left);
    this.#endHandshake(direction, side);
    side.handshake.release();
  }

  #skippable(side: Side): number {
    if (side.lost || side.type === -1) return 0;
    return this.#keeps(side) || side.type === TLS_ALERT ? 0 : side.left;
  }

  #keeps(side: Side): boolean {
    return side.type === TLS_HANDSHAKE && !side.encrypted && !side.handshakeOver;
  }

  #readHeader(direction: 0 | 1, side: Side, bytes: Uint8Array, start: number, end: number, timeNs: number): number {
    if (side.headerLength === 0) side.startNs = timeNs;
    const length = Math.min(TLS_RECORD_HEADER_LEN - side.headerLength, end - start);
    for (let i = 0; i < length; i++) side.header[side.headerLength++] = bytes[start + i]!;
    if (side.headerLength < TLS_RECORD_HEADER_LEN) return start + length;
    const header = parseTlsRecordHeader(side.header, 0, TLS_RECORD_HEADER_LEN);
    side.headerLength = 0;
    if (typeof header === 'string') {
      this.#timeline.add(direction, timeNs, TLS_RECORD_HEADER_LEN);
      this.#lose(direction, side);
      return start + length;
    }
    side.type = header.type;
    side.length = header.length;
    side.left = header.length;
    side.alertLevel = -1;
    if (header.length === 0) this.#endRecord(direction, side, timeNs);
    return start + length;
  }

  #readPayload(direction: 0 | 1, side: Side, bytes: Uint8Array, start: number, end: number, timeNs: number): number {
    const length = Math.min(side.left, end - start);
    if (this.#keeps(side)) this.#keepHandshake(side, bytes, start, start + length);
    else if (side.type === TLS_ALERT && side.length === 2 && !side.encrypted)
      this.#readAlert(direction, side, bytes, start, start + length);
    side.left -= length;
    if (side.left === 0) this.#endRecord(direction, side, timeNs);
    return start + length;
  }

  #readAlert(direction: 0 | 1, side: Side, bytes: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end; at++) {
      if (side.alertLevel === -1) side.alertLevel = bytes[at]!;
      else this.facts.alert ??= { direction, level: side.alertLevel, description: bytes[at]! };
    }
  }

  #endRecord(direction: 0 | 1, side: Side, timeNs: number): void {
    const { type } = side;
    side.type = -1;
    if (type === TLS_HANDSHAKE) this.#readHandshake(direction, side);
    else if (type === TLS_CHANGE_CIPHER_SPEC) this.#onChangeCipherSpec(direction, side);
    else if (type === TLS_APPLICATION_DATA) this.#onApplicationData(direction, side, timeNs);
    side.length = 0;
    side.left = 0;
  }

  #onApplicationData(direction: 0 | 1, side: Side, timeNs: number): void {
    this.facts.firstApplicationDataNs[direction] ??= side.startNs;
    this.#endHandshake(direction, side);
    const record: Burst = {
      direction,
      startNs: side.startNs,
      endNs: timeNs,
      bytes: TLS_RECORD_HEADER_LEN + side.length,
      records: 1,
      plainBytes: this.#overhead === -1 ? -1 : Math.max(0, side.length - this.#overhead),
      handshake: false,
      endSeq: this.#streams[direction].seqAt(side.offset),
    };
    const apart = side.first.length < FIRST_RECORDS;
    if (apart) {
      side.first.push(record);
      this.#timeline.split();
      this.#judgeHandshake(direction, side, record);
    }
    this.#timeline.addRecord(record);
    if (apart) this.#timeline.split();
  }

  /**
   * TLS 1.3 hides the rest of its handshake in application data. Of the server: what comes before the client's first such record. Of the client: its first record;
   * stacks that send every message in a record of its own (Certificate, CertificateVerify, Finished) are known by the length of the last.
   */
  #judgeHandshake(direction: 0 | 1, side: Side, record: Burst): void {
    const { clientHello, serverHello } = this.facts;
    if (serverHello?.version !== 0x0304) return;
    if (direction === 1) {
      record.handshake = this.#sides[0].first.length === 0;
      return;
    }
    if (clientHello?.earlyData !== false) return;
    const place = side.first.length;
    const finished = TLS_HANDSHAKE_HEADER_LEN + (serverHello.cipherSuite === TLS_AES_256_GCM_SHA384 ? 48 : 32);
    if (place === 1) record.handshake = true;
    else if (place === 3 && record.plainBytes === finished && side.first[0]!.plainBytes !== finished)
      for (const part of side.first) part.handshake = true;
  }

  /** In TLS 1.3 this message means nothing, and after a HelloRetryRequest a hello in the clear follows it. */
  #onChangeCipherSpec(direction: 0 | 1, side: Side): void {
    const { serverHello } = this.facts;
    if (serverHello === undefined ? direction === 0 : serverHello.version >= 0x0304) return;
    side.encrypted = true;
    this.#endHandshake(direction, side);
  }

  #keepHandshake(side: Side, bytes: Uint8Array, start: number, end: number): void {
    if (side.handshake.add(bytes, start, end) === end - start) return;
    side.handshake.release();
    side.handshakeOver = true;
  }

  /** Reads the messages that are complete; what is left of the next one stays. */
  #readHandshake(direction: 0 | 1, side: Side): void {
    const { bytes, length: end } = side.handshake;
    let at = 0;
    while (end - at >= TLS_HANDSHAKE_HEADER_LEN) {
      const length = (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
      const start = at + TLS_HANDSHAKE_HEADER_LEN;
      if (start + length > end) break;
      this.#onMessage(direction, bytes[at]!, bytes, start, start + length, false);
      at = start + length;
    }
    if (at === end) side.handshake.release();
    else if (at > 0) side.handshake.drop(at);
  }

  #onMessage(direction: 0 | 1, type: number, bytes: Uint8Array, start: number, end: number, cut: boolean): void {
    const { facts } = this;
    if (type === TLS_CLIENT_HELLO && direction === 0) facts.clientHello = parseClientHello(bytes, start, end, cut) ?? facts.clientHello;
    else if (type === TLS_SERVER_HELLO && direction === 1) {
      const hello = parseServerHello(bytes, start, end, cut);
      if (hello === undefined) return;
      facts.serverHello = hello;
      facts.helloRetried ||= hello.helloRetryRequest;
      facts.alpn = hello.alpn;
      this.#overhead = tlsRecordOverhead(hello.version, hello.cipherSuite);
    } else if (type === TLS_CERTIFICATE) {
      const leaf = findLeafCertificate(bytes, start, end);
      if (leaf !== undefined) facts.certificateUris[direction] = certificateUris(bytes, leaf.start, leaf.end);
    }
  }

  /** No handshake message in the clear follows: a hello that was cut is read as far as it goes. */
  #endHandshake(direction: 0 | 1, side: Side): void {
    if (side.handshakeOver) return;
    this.#readHandshake(direction, side);
    const { bytes, length } = side.handshake;
    const isHello = bytes[0] === TLS_CLIENT_HELLO || bytes[0] === TLS_SERVER_HELLO;
    // what is whole was read just now, so this one is cut
    if (isHello && length > TLS_HANDSHAKE_HEADER_LEN) this.#onMessage(direction, bytes[0]!, bytes, TLS_HANDSHAKE_HEADER_LEN, length, true);
    side.handshake.release();
    side.handshakeOver = true;
  }

  #lose(direction: 0 | 1, side: Side): void {
    this.#endHandshake(direction, side);
    side.lost = true;
    side.type = -1;
    side.headerLength = 0;
    side.left = 0;
    side.length = 0;
  }

  /** A segment that begins with a record. */
  #found(side: Side, bytes: Uint8Array, start: number, end: number): boolean {
    const header = parseTlsRecordHeader(bytes, start, end);
    if (typeof header === 'string' || header.length === 0 || header.version < 0x0301) return false;
    side.lost = false;
    return true;
  }
}
