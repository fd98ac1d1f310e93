/**
 * A request and its response, as seen on one connection.
 *
 * Values are as sent (not redacted). `undefined` is unknown, or did not happen. Times are nanoseconds since the time base.
 */
import type { HeaderField } from '../decode/header-field.ts';

export type HttpVersion = 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2';

/** Read its fields by name: those of HTTP/1 are made when they are asked for, and a spread would leave them out. */
export interface RequestHead {
  readonly protocol: HttpVersion;
  readonly method: string | undefined;
  readonly scheme: string | undefined;
  /** Host or `:authority`; may hold a port. */
  readonly authority: string | undefined;
  /** With its query. */
  readonly path: string | undefined;
  /** x-request-id. */
  readonly requestId: string | undefined;
  /** In the order sent, at most 64; HTTP/2 without the pseudo fields. */
  readonly headers: readonly HeaderField[];
  /** False: a header that is not listed may have been sent nevertheless. */
  readonly headersComplete: boolean;
}

export interface ResponseHead {
  readonly protocol: HttpVersion;
  readonly status: number | undefined;
  readonly headers: readonly HeaderField[];
  readonly headersComplete: boolean;
}

export class Exchange {
  /** Place on its connection, from 0, in the order in which the exchanges were first seen. */
  readonly index: number;
  /** HTTP/2. */
  readonly streamId: number | undefined;
  request: RequestHead | undefined = undefined;
  response: ResponseHead | undefined = undefined;
  /** HTTP/1: sequence number of the request's first byte, as int32 bits. */
  requestSeq: number | undefined = undefined;
  /** First byte of the head, and last byte of the body (of what was seen, when not `complete`). */
  requestStartNs: number | undefined = undefined;
  requestEndNs: number | undefined = undefined;
  responseStartNs: number | undefined = undefined;
  responseEndNs: number | undefined = undefined;
  /** Body bytes as on the wire, without the framing of chunks or HTTP/2. */
  requestBytes: number | undefined = undefined;
  responseBytes: number | undefined = undefined;
  /** Bytes of the head on the wire (HTTP/2: of its compressed field blocks). */
  requestHeadBytes: number | undefined = undefined;
  responseHeadBytes: number | undefined = undefined;
  /** The last byte of the request, of the response, was seen or accounted for. */
  requestDone = false;
  responseDone = false;
  /** grpc-status of the trailers. */
  grpcStatus: number | undefined = undefined;
  /** Error code of RST_STREAM. */
  resetCode: number | undefined = undefined;
  /** An interim response (1xx) came before the final one. */
  interim = false;
  /** The connection became a tunnel: CONNECT, WebSocket. */
  tunnel = false;
  /** The connection was joined after it began: something before the exchange, or the first of it, may not have been seen. */
  midstream = false;
  /** Nothing will change any more. */
  done = false;
  /** Its path was told. */
  told = false;
  /** Where it went is settled: it takes no part in what is joined later. */
  settled = false;
  /** On a connection of a pod with itself: whose request was sent on here is settled, where it went is another question. */
  sentSettled = false;
  /** … and where it went on is settled, whose it was is another question. */
  cameSettled = false;

  constructor(index: number, streamId: number | undefined) {
    this.index = index;
    this.streamId = streamId;
  }

  /** Last byte of the response, or of the request where there is none; 0 where neither was seen. */
  get lastNs(): number {
    return this.responseEndNs ?? this.requestEndNs ?? 0;
  }

  /** Request and response were seen from first byte to last. */
  get complete(): boolean {
    return this.requestDone && this.responseDone && this.request !== undefined && this.response !== undefined;
  }
}

const MAX_KEPT = 65_536;
/** Nothing waits longer to be told; what is not told by then is a place that could not be told apart from others. */
const UNTOLD_NS = 20e9;

/** The exchanges of one connection. Those that are done leave when the caller takes them. */
export class ExchangeLog {
  /** Not taken yet, by index. */
  kept: Exchange[] = [];
  /** Exchanges that were seen, and those of them that could not be kept because nobody took any. */
  count = 0;
  overflow = 0;

  add(streamId: number | undefined): Exchange {
    const exchange = new Exchange(this.count++, streamId);
    if (this.kept.length < MAX_KEPT) this.kept.push(exchange);
    else this.overflow++;
    return exchange;
  }

  /**
   * Forgets settled ones that ended before a moment; the first of all stays, since it tells what the connection is for.
   *
   * @param settleNs told ones that ended before this are settled, sure or not
   */
  forget(beforeNs: number, settleNs: number): void {
    for (const exchange of this.kept) if (exchange.told && exchange.done && exchange.lastNs < settleNs) exchange.settled = true;
    const stays = (exchange: Exchange) =>
      exchange.index === 0 || !exchange.done || exchange.lastNs >= (exchange.settled ? beforeNs : beforeNs - UNTOLD_NS);
    if (!this.kept.every(stays)) this.kept = this.kept.filter(stays);
  }

  /** Removes and returns those that are done, by index. */
  takeDone(): Exchange[] {
    const done = this.kept.filter((exchange) => exchange.done);
    if (done.length > 0) this.kept = this.kept.filter((exchange) => !exchange.done);
    return done;
  }
}

/** How a direction ended: with FIN after its last byte, or otherwise (RST, lost FIN, end of the recording). */
export type StreamEnd = 'finished' | 'cut';

/** What understands the two byte streams of a connection. The numbers returned are those of StreamConsumer. */
export interface Conversation {
  bytes(direction: 0 | 1, bytes: Uint8Array, start: number, end: number, timeNs: number, boundary: boolean): number;
  gap(direction: 0 | 1, length: number, timeNs: number): number;
  skipped(direction: 0 | 1, timeNs: number): number;
  end(direction: 0 | 1, how: StreamEnd): void;
}
