/**
 * HTTP/2 on one connection: one exchange for each stream, however they interleave.
 *
 * A stream whose request was not seen (joined late, or lost) has an exchange without `request`. Pushed responses are left out.
 */
import { findField, type HeaderField } from '../decode/header-field.ts';
import { Http2Decoder, type Http2Event } from '../decode/http2.ts';
import type { Conversation, Exchange, ExchangeLog, StreamEnd } from './http.ts';

const MAX_OPEN = 1024;

type Headers = Extract<Http2Event, { kind: 'headers' }>;

export interface Http2Options {
  readonly midstream: boolean;
  /** The connection began as HTTP/1.1 with `Upgrade: h2c`: this request is stream 1. */
  readonly upgraded?: Exchange;
}

export class Http2Conversation implements Conversation {
  readonly #log: ExchangeLog;
  readonly #decoders: readonly [Http2Decoder, Http2Decoder];
  readonly #midstream: boolean;
  readonly #open = new Map<number, Exchange>();
  /** Streams that could not be followed because too many were open. */
  overflow = 0;
  /** GOAWAY of either side: the highest stream that was served, and the error code. */
  goAway: { readonly direction: 0 | 1; readonly lastStreamId: number; readonly code: number } | undefined;
  #lastStream: [number, number] = [0, 0];
  #ended: [boolean, boolean] = [false, false];

  constructor(log: ExchangeLog, options: Http2Options) {
    const { midstream, upgraded } = options;
    this.#log = log;
    this.#midstream = midstream;
    this.#decoders = [new Http2Decoder({ preface: true, midstream }), new Http2Decoder({ preface: false, midstream })];
    if (upgraded === undefined) return;
    upgraded.done = false;
    this.#open.set(1, upgraded);
    this.#lastStream = [1, 0];
  }

  bytes(direction: 0 | 1, bytes: Uint8Array, start: number, end: number, timeNs: number, boundary: boolean): number {
    const decoder = this.#decoders[direction];
    this.#take(direction, decoder.push(bytes, start, end, timeNs, boundary), timeNs);
    return decoder.skippable;
  }

  gap(direction: 0 | 1, length: number, timeNs: number): number {
    const decoder = this.#decoders[direction];
    this.#take(direction, decoder.gap(length), timeNs);
    return decoder.skippable;
  }

  skipped(direction: 0 | 1, timeNs: number): number {
    const decoder = this.#decoders[direction];
    this.#take(direction, decoder.skip(), timeNs);
    return decoder.skippable;
  }

  end(direction: 0 | 1, how: StreamEnd): void {
    this.#ended[direction] = true;
    // after FIN of the client the server may go on
    if (direction === 0 && how === 'finished' && !this.#ended[1]) return;
    for (const exchange of this.#open.values()) exchange.done = true;
    this.#open.clear();
  }

  #take(direction: 0 | 1, events: readonly Http2Event[], timeNs: number): void {
    for (const event of events) {
      if (event.kind === 'headers') {
        if (direction === 0) this.#requestHeaders(event, timeNs);
        else this.#responseHeaders(event, timeNs);
      } else if (event.kind === 'data') this.#data(direction, event, timeNs);
      else if (event.kind === 'reset') this.#reset(event.streamId, event.code);
      else if (event.kind === 'goaway') this.goAway = { direction, lastStreamId: event.lastStreamId, code: event.code };
      else if (event.kind === 'lost') this.#lost(direction);
    }
  }

  /** Bodies that were being sent when something was lost cannot be measured any more. */
  #lost(direction: 0 | 1): void {
    for (const exchange of this.#open.values()) {
      if (direction === 0 && !exchange.requestDone) exchange.requestBytes = undefined;
      if (direction === 1 && !exchange.responseDone) exchange.responseBytes = undefined;
      if (direction === 1 || !exchange.requestDone) exchange.midstream = true;
    }
  }

  /** The exchange of a stream, a new one when it can be one; `undefined` when the stream is over, pushed or cannot be followed. */
  #exchange(direction: 0 | 1, streamId: number): Exchange | undefined {
    const known = this.#open.get(streamId);
    if (known !== undefined) return known;
    const certain = !this.#midstream && !this.#decoders[0].lost && !this.#decoders[1].lost;
    if (streamId % 2 === 0 || (streamId <= this.#lastStream[direction] && certain)) return undefined;
    if (streamId <= this.#lastStream[0] && direction === 0) return undefined;
    if (this.#open.size >= MAX_OPEN) {
      this.overflow++;
      return undefined;
    }
    const exchange = this.#log.add(streamId);
    exchange.midstream = this.#midstream || direction === 1;
    this.#open.set(streamId, exchange);
    this.#lastStream[direction] = Math.max(this.#lastStream[direction], streamId);
    return exchange;
  }

  #requestHeaders(event: Headers, timeNs: number): void {
    const exchange = this.#exchange(0, event.streamId);
    if (exchange === undefined) return;
    if (exchange.request === undefined && exchange.requestEndNs === undefined && isRequest(event)) {
      const { fields } = event;
      exchange.request = {
        protocol: 'HTTP/2',
        method: findField(fields, ':method'),
        scheme: findField(fields, ':scheme'),
        authority: findField(fields, ':authority') ?? findField(fields, 'host'),
        path: findField(fields, ':path'),
        requestId: findField(fields, 'x-request-id'),
        headers: withoutPseudo(fields),
        headersComplete: event.fieldsComplete,
      };
      exchange.requestStartNs = event.startNs;
      exchange.requestHeadBytes = event.blockLength;
      exchange.requestBytes = 0;
    }
    exchange.requestEndNs = timeNs;
    if (event.endStream) this.#sideDone(0, exchange);
  }

  #responseHeaders(event: Headers, timeNs: number): void {
    const exchange = this.#exchange(1, event.streamId);
    if (exchange === undefined) return;
    const statusText = findField(event.fields, ':status');
    const status = statusText === undefined || !/^\d{3}$/.test(statusText) ? undefined : Number(statusText);
    if (status !== undefined && status < 200 && !event.endStream) {
      exchange.interim = true;
      return;
    }
    // trailers have no status; one that is not known may be that of an interim response, which the next head replaces
    const isHead = status !== undefined || (!event.fieldsComplete && !event.endStream);
    if (isHead && exchange.response?.status === undefined) {
      exchange.response = { protocol: 'HTTP/2', status, headers: withoutPseudo(event.fields), headersComplete: event.fieldsComplete };
      exchange.responseStartNs = event.startNs;
      exchange.responseHeadBytes = event.blockLength;
      exchange.responseBytes = 0;
    }
    const grpc = findField(event.fields, 'grpc-status');
    if (grpc !== undefined && /^\d{1,4}$/.test(grpc)) exchange.grpcStatus = Number(grpc);
    exchange.responseEndNs = timeNs;
    if (event.endStream) this.#sideDone(1, exchange);
  }

  #data(direction: 0 | 1, event: { streamId: number; length: number | undefined; endStream: boolean }, timeNs: number): void {
    const exchange = this.#open.get(event.streamId);
    if (exchange === undefined) return;
    if (direction === 0) {
      exchange.requestBytes = sum(exchange.requestBytes, event.length);
      exchange.requestEndNs = timeNs;
    } else {
      exchange.responseBytes = sum(exchange.responseBytes, event.length);
      exchange.responseEndNs = timeNs;
    }
    if (event.endStream) this.#sideDone(direction, exchange);
  }

  #sideDone(direction: 0 | 1, exchange: Exchange): void {
    if (direction === 0) exchange.requestDone = true;
    else exchange.responseDone = true;
    const requestOver = exchange.requestDone || exchange.request === undefined;
    if (exchange.responseDone && requestOver) this.#close(exchange);
  }

  #reset(streamId: number, code: number): void {
    const exchange = this.#open.get(streamId);
    if (exchange === undefined) return;
    exchange.resetCode = code;
    this.#close(exchange);
  }

  #close(exchange: Exchange): void {
    exchange.done = true;
    this.#open.delete(exchange.streamId ?? 1);
  }
}

/** Trailers have no pseudo fields. Of a request's own, method and scheme stand in the static table, so that one of them is known whatever else is not. */
function isRequest(event: Headers): boolean {
  return event.fields.some((field) => field.name.startsWith(':'));
}

function withoutPseudo(fields: readonly HeaderField[]): readonly HeaderField[] {
  return fields.filter((field) => !field.name.startsWith(':'));
}

function sum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b;
}
