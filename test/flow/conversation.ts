/** Builds TCP conversations for the tests of flow/: who says what, cut into segments, with sequence numbers and acknowledgements as the two kernels would send them. */
import { TCP_ACK, TCP_FIN, TCP_SYN } from '../../src/decode/packet.ts';
import { ConnectionTracker, type TcpSegment } from '../../src/flow/exchange.ts';
import type { Exchange } from '../../src/flow/http.ts';

export interface Saying {
  readonly from: 'client' | 'server';
  readonly data: Uint8Array | string;
}

export interface Sent {
  readonly direction: 0 | 1;
  readonly packet: TcpSegment;
}

export interface Wire {
  /** Length of the next segment's payload; all of what is said by default. */
  readonly segment?: (left: number) => number;
  /** Bytes of a segment's payload that are captured; all by default. */
  readonly snap?: number;
  /** Without the handshake: the recording began later. */
  readonly midstream?: boolean;
  /** Without FIN. */
  readonly open?: boolean;
  /** First sequence numbers. */
  readonly isn?: readonly [number, number];
}

export function bytesOf(data: Uint8Array | string): Uint8Array {
  return typeof data === 'string' ? Buffer.from(data, 'latin1') : data;
}

/** A millisecond passes between two sayings, none within one. */
export function segments(sayings: readonly Saying[], wire: Wire = {}): Sent[] {
  const sent: Sent[] = [];
  const next: [number, number] = [wire.isn?.[0] ?? 0x7fff_fff0, wire.isn?.[1] ?? 0xffff_fff0];
  let timeNs = 0;
  const send = (direction: 0 | 1, tcpFlags: number, payload: Uint8Array) => {
    const payloadCaptured = Math.min(payload.length, wire.snap ?? payload.length);
    const packet = {
      timeNs,
      seq: next[direction] | 0,
      ack: next[1 - direction]! | 0,
      tcpFlags,
      bytes: payload.slice(0, payloadCaptured),
      payloadOffset: 0,
      payloadCaptured,
      payloadLength: payload.length,
    };
    sent.push({ direction, packet });
    next[direction] += payload.length;
  };
  const nothing = new Uint8Array(0);
  if (wire.midstream !== true) {
    send(0, TCP_SYN, nothing);
    next[0]++;
    send(1, TCP_SYN | TCP_ACK, nothing);
    next[1]++;
  }
  for (const { from, data } of sayings) {
    timeNs += 1_000_000;
    const all = bytesOf(data);
    let at = 0;
    while (at < all.length) {
      const length = Math.max(1, Math.min(all.length - at, wire.segment?.(all.length - at) ?? all.length));
      send(from === 'client' ? 0 : 1, TCP_ACK, all.subarray(at, at + length));
      at += length;
    }
  }
  if (wire.open !== true)
    for (const direction of [0, 1] as const) {
      send(direction, TCP_FIN | TCP_ACK, nothing);
      next[direction]++;
    }
  return sent;
}

/** Gives packets to a new tracker, ends it, and returns it. */
export function track(sent: readonly Sent[]): ConnectionTracker {
  const tracker = new ConnectionTracker();
  for (const { direction, packet } of sent) tracker.observe(direction, packet);
  tracker.close();
  return tracker;
}

/** The tracker of a conversation on this wire. */
export function follow(sayings: readonly Saying[], wire: Wire = {}): ConnectionTracker {
  return track(segments(sayings, wire));
}

/** `GET /a > 200 5`: one line for each exchange, `?` for what is unknown. */
export function lines(exchanges: readonly Exchange[]): string[] {
  return exchanges.map(({ request, response, requestBytes, responseBytes }) => {
    const asked = request === undefined ? '?' : `${request.method ?? '?'} ${request.path ?? '?'} ${requestBytes ?? '?'}`;
    return `${asked} > ${response === undefined ? '?' : `${response.status ?? '?'} ${responseBytes ?? '?'}`}`;
  });
}

/** All that exchanges tell, as plain values that can be compared. */
export function plain(exchanges: readonly Exchange[]): object[] {
  return exchanges.map((exchange) => ({
    ...exchange,
    request: exchange.request && {
      ...exchange.request,
      headers: exchange.request.headers,
      headersComplete: exchange.request.headersComplete,
    },
    response: exchange.response && {
      ...exchange.response,
      headers: exchange.response.headers,
      headersComplete: exchange.response.headersComplete,
    },
  }));
}
