/**
 * HTTP/1 on one connection: follows the heads and bodies of both directions and pairs responses with requests.
 *
 * After a loss the reading goes on at the next segment that begins with a start line.
 * A request that arrives while the end of the response before it is unknown ends that response: the client had it.
 */
import { MAX_HEAD_LENGTH } from '../decode/header-field.ts';
import type { Http1Head, Http1Request, Http1Response } from '../decode/http1.ts';
import { findHttp1HeadEnd, parseCutHttp1Head, parseHttp1Head } from '../decode/http1.ts';
import { http1Body } from '../decode/http1-body.ts';
import { ChunkedBody } from '../decode/http1-chunked.ts';
import { isHttp1Start, looksLikeHttp1 } from '../decode/http1-start-line.ts';
import type { Conversation, Exchange, ExchangeLog, StreamEnd } from './http.ts';
import { Http1RequestHead, Http1ResponseHead } from './http1-heads.ts';
import { Http1Pairing } from './http1-pairing.ts';
import { Http2Conversation } from './http2.ts';
import { KeptBytes } from './kept-bytes.ts';
import type { BufferBudget, TcpStream } from './stream.ts';

/**
 * `unsure`: whether a body follows at all cannot be told from the head (its request is unknown, or it waits for 100 Continue); the next bytes tell.
 * `lost`: somewhere within a message, the end of which is unknown.
 */
type State = 'head' | 'unsure' | 'length' | 'chunked' | 'until-close' | 'tunnel' | 'lost';

class Side {
  state: State = 'head';
  /** Start of a head that is not complete yet. */
  readonly kept: KeptBytes;
  headStartNs = 0;
  /** Stream offset of its first byte. */
  headOffset = 0;
  /** Of the client: how much the server had sent by then. */
  answered = 0;
  /** Whose head or body is being read. */
  exchange: Exchange | undefined;
  /** What follows `unsure`. */
  sure: State = 'head';
  /** Body bytes to come, of `length`. */
  left = 0;
  length = 0;
  chunked: ChunkedBody | undefined;
  /** Stream offset of the first body byte, of `until-close` and `tunnel`. */
  bodyOffset = 0;
  lastNs = 0;
  resynced = false;
  ended = false;

  constructor(budget: BufferBudget, midstream: boolean) {
    this.kept = new KeptBytes(MAX_HEAD_LENGTH, budget);
    this.resynced = midstream;
    if (midstream) this.state = 'lost';
  }
}

export class Http1Conversation implements Conversation {
  readonly #log: ExchangeLog;
  readonly #streams: readonly [TcpStream, TcpStream];
  readonly #sides: readonly [Side, Side];
  readonly #pairing = new Http1Pairing();
  #successor: Http2Conversation | undefined;

  constructor(log: ExchangeLog, streams: readonly [TcpStream, TcpStream], budget: BufferBudget, midstream: boolean) {
    this.#log = log;
    this.#streams = streams;
    this.#sides = [new Side(budget, midstream), new Side(budget, midstream)];
  }

  /** The connection went on as HTTP/2 after `Upgrade: h2c`. */
  get upgraded(): boolean {
    return this.#successor !== undefined;
  }

  bytes(direction: 0 | 1, bytes: Uint8Array, start: number, end: number, timeNs: number, boundary: boolean): number {
    if (this.#successor !== undefined) return this.#successor.bytes(direction, bytes, start, end, timeNs, boundary);
    const side = this.#sides[direction];
    side.lastNs = timeNs;
    let at = start;
    while (at < end) {
      if (side.state === 'head') {
        at = this.#readHead(direction, side, bytes, at, end, timeNs, start);
        // the getter reads what #readHead may have set, which the compiler cannot know
        if (this.upgraded) return at < end ? this.#successor!.bytes(direction, bytes, at, end, timeNs, false) : 0;
      } else if (side.state === 'length') {
        const length = Math.min(side.left, end - at);
        at += length;
        side.left -= length;
        if (side.left === 0) this.#bodyEnd(direction, side, side.length, timeNs);
      } else if (side.state === 'chunked') at = this.#readChunked(direction, side, bytes, at, end, timeNs);
      else if (side.state === 'unsure') this.#decide(direction, side, isHttp1Start(bytes, at, end) === expected(direction), timeNs);
      else if (side.state === 'lost') {
        if (at === start && boundary && isHttp1Start(bytes, at, end) === expected(direction)) this.#foundAgain(direction, side);
        else at = end;
      } else at = end;
    }
    return this.#skippable(side);
  }

  gap(direction: 0 | 1, length: number, timeNs: number): number {
    if (this.#successor !== undefined) return this.#successor.gap(direction, length, timeNs);
    const side = this.#sides[direction];
    side.lastNs = timeNs;
    if (side.state === 'unsure') this.#decide(direction, side, false, timeNs);
    if (side.state === 'head') {
      if (side.kept.length > 0) this.#cutHead(direction, side, timeNs);
      else side.state = 'lost';
    } else if (side.state === 'length') {
      const more = length - side.left;
      side.left = Math.max(0, -more);
      if (more >= 0) this.#bodyEnd(direction, side, side.length, timeNs);
      if (more > 0) side.state = 'lost';
    } else if (side.state === 'chunked') {
      if (side.chunked!.skippable >= length) side.chunked!.skip(length);
      else this.#lose(direction, side);
    }
    return this.#skippable(side);
  }

  skipped(direction: 0 | 1, timeNs: number): number {
    if (this.#successor !== undefined) return this.#successor.skipped(direction, timeNs);
    const side = this.#sides[direction];
    side.lastNs = timeNs;
    if (side.state === 'length') {
      side.left = 0;
      this.#bodyEnd(direction, side, side.length, timeNs);
    } else if (side.state === 'chunked') side.chunked!.skip(side.chunked!.skippable);
    return this.#skippable(side);
  }

  end(direction: 0 | 1, how: StreamEnd): void {
    if (this.#successor !== undefined) {
      this.#successor.end(direction, how);
      return;
    }
    const side = this.#sides[direction];
    if (side.ended) return;
    side.ended = true;
    const { lastNs } = this.#streams[direction];
    if (side.state === 'head' && side.kept.length > 0) this.#cutHead(direction, side, lastNs);
    if (side.state === 'unsure' && how === 'finished') this.#decide(direction, side, side.sure !== 'until-close', lastNs);
    const exchange = side.exchange;
    if (exchange !== undefined) {
      if (side.state === 'until-close' || side.state === 'tunnel') {
        this.#setBody(direction, exchange, this.#streams[direction].offset - side.bodyOffset, lastNs);
        if (how === 'finished') this.#setDone(direction, exchange);
      } else this.#setEnd(direction, exchange, lastNs);
    }
    if (direction === 1 || this.#sides[1].ended) this.#endAll();
  }

  /** No response will come any more. */
  #endAll(): void {
    for (const exchange of [...this.#pairing.giveUp(), this.#sides[0].exchange, this.#sides[1].exchange]) {
      // a tunnel's other half may still be open
      if (exchange !== undefined && !(exchange.tunnel && !this.#sides[0].ended)) exchange.done = true;
    }
  }

  #skippable(side: Side): number {
    if (side.state === 'length') return side.left;
    if (side.state === 'chunked') return side.chunked!.skippable;
    return side.state === 'until-close' || side.state === 'tunnel' ? Number.POSITIVE_INFINITY : 0;
  }

  #readHead(direction: 0 | 1, side: Side, bytes: Uint8Array, start: number, end: number, timeNs: number, pieceStart: number): number {
    if (side.kept.length > 0) return this.#readKeptHead(direction, side, bytes, start, end, timeNs, pieceStart);
    let at = start;
    while (at < end && (bytes[at] === 0x0d || bytes[at] === 0x0a)) at++;
    if (at === end) return end;
    side.headStartNs = timeNs;
    side.headOffset = this.#streams[direction].offset + (at - pieceStart);
    side.answered = this.#answeredSoFar();
    const head = parseHttp1Head(bytes, at, end);
    if (head === 'incomplete') {
      const kept = side.kept.add(bytes, at, end);
      if (kept === -1) this.#onCutHead(direction, side, parseCutHttp1Head(bytes, at, end), timeNs);
      else if (side.kept.full) this.#cutHead(direction, side, timeNs);
      return end;
    }
    if (head === 'not-http') this.#lose(direction, side);
    else {
      at += head.headLength;
      this.#onHead(direction, side, head, timeNs, this.#streams[direction].offset + (at - pieceStart));
    }
    return at;
  }

  #readKeptHead(direction: 0 | 1, side: Side, bytes: Uint8Array, start: number, end: number, timeNs: number, pieceStart: number): number {
    const { kept } = side;
    const before = kept.length;
    if (kept.add(bytes, start, end) === -1) {
      this.#cutHead(direction, side, timeNs);
      return end;
    }
    const headEnd = findHttp1HeadEnd(kept.bytes, Math.max(0, before - 3), kept.length);
    if (headEnd === -1) {
      const hadLine = kept.bytes.subarray(0, before).indexOf(0x0a) !== -1;
      const wrong =
        looksLikeHttp1(kept.bytes, 0, kept.length) === 'not-http' ||
        (!hadLine && parseHttp1Head(kept.bytes, 0, kept.length) === 'not-http');
      if (wrong) {
        kept.release();
        this.#lose(direction, side);
      } else if (kept.full) this.#cutHead(direction, side, timeNs);
      return end;
    }
    const head = parseHttp1Head(kept.bytes, 0, headEnd);
    kept.release();
    const at = start + headEnd - before;
    if (typeof head === 'string') this.#lose(direction, side);
    else this.#onHead(direction, side, head, timeNs, this.#streams[direction].offset + (at - pieceStart));
    return at;
  }

  /** The rest of a head is lost: what was there of it is a head that is cut. */
  #cutHead(direction: 0 | 1, side: Side, timeNs: number): void {
    const head = parseCutHttp1Head(side.kept.bytes, 0, side.kept.length);
    side.kept.release();
    this.#onCutHead(direction, side, head, timeNs);
  }

  #onCutHead(direction: 0 | 1, side: Side, head: Http1Head | undefined, timeNs: number): void {
    side.state = 'lost';
    if (head !== undefined) this.#onHead(direction, side, head, timeNs, 0);
  }

  #onHead(direction: 0 | 1, side: Side, head: Http1Head, timeNs: number, bodyOffset: number): void {
    if (head.kind !== expected(direction)) this.#lose(direction, side);
    else if (head.kind === 'request') this.#onRequest(side, head, timeNs, bodyOffset);
    else this.#onResponse(side, head, timeNs, bodyOffset);
  }

  #onRequest(side: Side, head: Http1Request, timeNs: number, bodyOffset: number): void {
    if (this.#sides[1].state === 'lost') this.#forgetWaiting();
    const exchange = this.#log.add(undefined);
    exchange.request = new Http1RequestHead(head);
    exchange.requestSeq = this.#streams[0].seqAt(side.headOffset);
    exchange.requestStartNs = side.headStartNs;
    exchange.requestEndNs = timeNs;
    exchange.requestHeadBytes = head.cut ? undefined : head.headLength;
    exchange.midstream = side.resynced;
    side.resynced = false;
    this.#pairing.ask(exchange, side.answered);
    this.#beginBody(0, side, exchange, head, undefined, head.expectsContinue, timeNs, bodyOffset);
  }

  /** The responses to all that wait were missed. */
  #forgetWaiting(): void {
    for (const exchange of this.#pairing.giveUp()) exchange.done = true;
    const response = this.#sides[1];
    if (response.exchange !== undefined) response.exchange.done = true;
    response.exchange = undefined;
  }

  #onResponse(side: Side, head: Http1Response, timeNs: number, bodyOffset: number): void {
    const final = head.status >= 200 || head.status === 101;
    const asked = this.#pairing.answer(side.headOffset, { follows: !side.resynced, final });
    if (!final) {
      if (asked !== undefined) {
        asked.interim = true;
        side.resynced = false;
      }
      return;
    }
    const exchange = asked ?? this.#log.add(undefined);
    if (asked === undefined || side.resynced) exchange.midstream = true;
    side.resynced = false;
    exchange.response = new Http1ResponseHead(head);
    exchange.responseStartNs = side.headStartNs;
    exchange.responseEndNs = timeNs;
    exchange.responseHeadBytes = head.cut ? undefined : head.headLength;
    const method = exchange.request?.method;
    const client = this.#sides[0];
    if (client.state === 'lost' && client.exchange === exchange) client.exchange = undefined;
    if (head.status === 101 && head.upgrade === 'h2c' && exchange.request !== undefined) {
      this.#successor = new Http2Conversation(this.#log, { midstream: false, upgraded: exchange });
      exchange.response = undefined;
      exchange.responseStartNs = undefined;
      exchange.responseEndNs = undefined;
      return;
    }
    this.#beginBody(1, side, exchange, head, method, method === undefined, timeNs, bodyOffset);
    if (side.state === 'tunnel' && client.state !== 'tunnel') {
      exchange.tunnel = true;
      client.state = 'tunnel';
      client.exchange = exchange;
      client.bodyOffset = this.#streams[0].offset;
      this.#streams[0].skip(Number.POSITIVE_INFINITY);
    } else if (client.state === 'tunnel' && side.state === 'tunnel') exchange.tunnel = true;
    else if (client.state === 'tunnel' && client.exchange === exchange) {
      // CONNECT was refused: the client may go on with another request
      client.state = 'head';
      client.exchange = undefined;
      exchange.requestDone = true;
      this.#streams[0].skip(0);
      this.#settle(exchange);
    }
  }

  /** How much the server had sent when the client sent the segment that is being read. */
  #answeredSoFar(): number {
    const [client, server] = this.#streams;
    return server.offset + ((client.ack - server.next) | 0);
  }

  #beginBody(
    direction: 0 | 1,
    side: Side,
    exchange: Exchange,
    head: Http1Head,
    method: string | undefined,
    unsure: boolean,
    timeNs: number,
    bodyOffset: number,
  ): void {
    const body = http1Body(head, method);
    side.exchange = exchange;
    side.bodyOffset = bodyOffset;
    if (body.kind === 'none') {
      this.#bodyEnd(direction, side, 0, timeNs);
      return;
    }
    if (body.kind === 'invalid') {
      side.state = 'lost';
      return;
    }
    side.state = body.kind;
    if (body.kind === 'length') {
      side.length = body.length;
      side.left = body.length;
    } else if (body.kind === 'chunked') side.chunked = new ChunkedBody();
    if (!unsure || body.kind === 'tunnel') return;
    side.sure = side.state;
    side.state = 'unsure';
  }

  /** `none`: no body follows, the next head does. */
  #decide(direction: 0 | 1, side: Side, none: boolean, timeNs: number): void {
    side.state = side.sure;
    if (none) this.#bodyEnd(direction, side, 0, timeNs);
  }

  #readChunked(direction: 0 | 1, side: Side, bytes: Uint8Array, start: number, end: number, timeNs: number): number {
    const chunked = side.chunked!;
    const at = chunked.push(bytes, start, end);
    if (chunked.done) this.#bodyEnd(direction, side, chunked.dataLength, timeNs);
    else if (chunked.malformed) this.#lose(direction, side);
    return at;
  }

  #bodyEnd(direction: 0 | 1, side: Side, length: number, timeNs: number): void {
    const exchange = side.exchange!;
    side.exchange = undefined;
    side.chunked = undefined;
    side.state = 'head';
    this.#setBody(direction, exchange, length, timeNs);
    this.#setDone(direction, exchange);
    this.#settle(exchange);
  }

  #setBody(direction: 0 | 1, exchange: Exchange, length: number, timeNs: number): void {
    if (direction === 0) exchange.requestBytes = length;
    else exchange.responseBytes = length;
    this.#setEnd(direction, exchange, timeNs);
  }

  #setEnd(direction: 0 | 1, exchange: Exchange, timeNs: number): void {
    if (direction === 0) exchange.requestEndNs = timeNs;
    else exchange.responseEndNs = timeNs;
  }

  #setDone(direction: 0 | 1, exchange: Exchange): void {
    if (direction === 0) exchange.requestDone = true;
    else exchange.responseDone = true;
  }

  #settle(exchange: Exchange): void {
    if (exchange.responseDone && this.#sides[0].exchange !== exchange) exchange.done = true;
  }

  /** The place within the message is lost; its exchange stays until the next head tells that it is over. */
  #lose(direction: 0 | 1, side: Side): void {
    side.state = 'lost';
    side.chunked = undefined;
    if (side.exchange !== undefined) this.#setEnd(direction, side.exchange, side.lastNs);
  }

  #foundAgain(direction: 0 | 1, side: Side): void {
    if (direction === 1 && side.exchange !== undefined) side.exchange.done = true;
    side.exchange = undefined;
    side.resynced = true;
    side.state = 'head';
  }
}

function expected(direction: 0 | 1): 'request' | 'response' {
  return direction === 0 ? 'request' : 'response';
}
