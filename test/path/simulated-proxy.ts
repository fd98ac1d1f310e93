/**
 * A proxy that never was: applications (or clients) ask through it, it pools its connections to the other side as Envoy does, and everything is written down as packets.
 * Which connection carried which request is known, because it is decided here.
 *
 * Connections of the pool carry one request at a time; the one that was used last is used first; a request that finds none idle opens one, and takes the first that is free.
 * Source: Envoy's HTTP/1.1 connection pool (source/common/conn_pool/conn_pool_base.cc: LIFO).
 */

import type { Shown } from '../flow/packets.ts';
import { tlsRecord } from '../flow/tls-records.ts';

export interface Traffic {
  readonly seed: number;
  /** Encrypted is the side of the pool when requests leave, that of the clients when they come in. */
  readonly encryption: 'none' | 'TLSv1.2' | 'TLSv1.3';
  readonly direction: 'outbound' | 'inbound';
  readonly connections: number;
  readonly requestsEach: number;
  /** Share of requests that the proxy answers itself. */
  readonly refused: number;
  /** Share of requests whose first attempt is answered 503 and that are tried again on another connection. */
  readonly retried: number;
  /** Do all ask for the same, with the same lengths? Then only time tells. */
  readonly alike: boolean;
}

export interface Truth {
  /** The path is the request's own, or `/` where all are alike. */
  readonly path: string;
  /** Sequence on its client's connection. */
  readonly index: number;
  /** `ip:port` of the source of the connection that it came in on, and of the one that it went on on; absent when the proxy answered itself. */
  readonly down: string;
  readonly up: string | undefined;
}

const POD = '10.244.1.10';
const ENDPOINTS = ['10.244.1.20:9080', '10.244.2.21:9080'];
const VIP = '10.96.0.50:9080';

/** mulberry32 */
function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** One TCP connection; bytes of one call are one flight, at one moment, cut into segments a microsecond apart. */
class Line {
  readonly from: string;
  readonly to: string;
  readonly #answerFrom: string;
  readonly #ifindex: number;
  readonly #out: Shown[];
  readonly #next: [number, number];

  constructor(out: Shown[], from: string, to: string, answerFrom: string, ifindex: number, isn: number) {
    this.#out = out;
    this.from = from;
    this.to = to;
    this.#answerFrom = answerFrom;
    this.#ifindex = ifindex;
    this.#next = [isn, isn ^ 0x5a5a_5a5a];
  }

  /** @returns when the connection stands */
  open(ms: number, roundTripMs: number): number {
    this.#send(0, ms, 'S', '', 1);
    this.#send(1, ms + roundTripMs, 'SA', '', 1);
    this.#send(0, ms + roundTripMs + 0.002, 'A', '', 0);
    return ms + roundTripMs + 0.003;
  }

  client(ms: number, bytes: Uint8Array): void {
    this.#segments(0, ms, bytes);
  }

  server(ms: number, bytes: Uint8Array): void {
    this.#segments(1, ms, bytes);
  }

  close(ms: number): void {
    this.#send(0, ms, 'FA', '', 1);
    this.#send(1, ms + 0.01, 'FA', '', 1);
    this.#send(0, ms + 0.02, 'A', '', 0);
  }

  #segments(direction: 0 | 1, ms: number, bytes: Uint8Array): void {
    for (let at = 0, i = 0; at < bytes.length; at += 1400, i++) {
      const part = bytes.subarray(at, at + 1400);
      this.#send(direction, ms + i * 0.001, 'PA', part, part.length);
    }
  }

  #send(direction: 0 | 1, ms: number, flags: string, payload: string | Uint8Array, length: number): void {
    const [from, to] = direction === 0 ? [this.from, this.to] : [this.#answerFrom, this.from];
    this.#out.push({ from, to, ms, flags, seq: this.#next[direction], ack: this.#next[1 - direction]!, payload, ifindex: this.#ifindex });
    this.#next[direction] = (this.#next[direction] + length) | 0;
  }
}

interface Ask {
  readonly path: string;
  readonly head: string;
  readonly bodyBytes: number;
  readonly answerBytes: number;
  readonly serviceMs: number;
}

/** Speaks HTTP/1.1 on a line, encrypted or not. */
class Speaker {
  readonly line: Line;
  readonly #encryption: Traffic['encryption'];

  constructor(line: Line, encryption: Traffic['encryption']) {
    this.line = line;
    this.#encryption = encryption;
  }

  /** @returns when the first request may be sent */
  open(ms: number, roundTripMs: number, random: () => number): number {
    let at = this.line.open(ms, roundTripMs);
    if (this.#encryption === 'none') return at;
    const thirteen = this.#encryption === 'TLSv1.3';
    this.line.client(
      at,
      tlsRecord.clientHello('outbound_.9080_._.shop.default.svc.cluster.local', [thirteen ? 'istio-http/1.1' : 'istio']),
    );
    at += roundTripMs + random();
    this.line.server(
      at,
      Buffer.concat([
        tlsRecord.serverHello(thirteen),
        ...(thirteen ? [tlsRecord.changeCipherSpec(), tlsRecord.data(1100, true)] : [tlsRecord.handshake(900)]),
      ]),
    );
    at += 0.4 + random() * 0.3;
    this.line.client(
      at,
      Buffer.concat(
        thirteen
          ? [tlsRecord.changeCipherSpec(), tlsRecord.data(980, true)]
          : [tlsRecord.handshake(700), tlsRecord.changeCipherSpec(), tlsRecord.handshake(40)],
      ),
    );
    const answered = at + roundTripMs + random() * 0.4;
    if (!thirteen) this.line.server(answered, Buffer.concat([tlsRecord.changeCipherSpec(), tlsRecord.handshake(40)]));
    // Session tickets come when they come: the client does not wait for them.
    else if (random() < 0.7) this.line.server(answered, Buffer.concat([tlsRecord.data(230, true), tlsRecord.data(230, true)]));
    return thirteen ? at + 0.05 : answered + 0.05;
  }

  ask(ms: number, text: string): void {
    this.line.client(ms, this.#bytes(text));
  }

  answer(ms: number, text: string): void {
    this.line.server(ms, this.#bytes(text));
  }

  #bytes(text: string): Uint8Array {
    return this.#encryption === 'none' ? Buffer.from(text, 'latin1') : tlsRecord.data(text.length, this.#encryption === 'TLSv1.3');
  }
}

interface Pooled {
  readonly speaker: Speaker;
  readonly endpoint: string;
  /** When the request before is answered. */
  idleFrom: number;
}

const BUSY = Number.POSITIVE_INFINITY;

interface Event {
  readonly ms: number;
  readonly act: (ms: number) => void;
}

/** The packets in the order of time, and the truth about every request. */
export function simulate(traffic: Traffic): { packets: Shown[]; truth: Truth[] } {
  const random = randomOf(traffic.seed);
  const between = (low: number, high: number) => low + random() * (high - low);
  const packets: Shown[] = [];
  const truth: Truth[] = [];
  const outbound = traffic.direction === 'outbound';
  const pool: Pooled[] = [];
  const events: Event[] = [];
  let port = 40_000;
  let number = 0;
  const nextIsn = () => Math.floor(random() * 0x7fff_ffff);
  const later = (ms: number, act: Event['act']) => {
    let i = events.length;
    while (i > 0 && events[i - 1]!.ms < ms) i--;
    events.splice(i, 0, { ms, act });
  };

  const clientLine = (): Line => {
    const own = port++;
    if (outbound) return new Line(packets, `${POD}:${own}`, '127.0.0.1:15001', VIP, 1, nextIsn());
    return new Line(packets, `10.244.1.${30 + (own % 3)}:${own}`, `${POD}:9080`, `${POD}:9080`, 2, nextIsn());
  };
  const poolLine = (endpoint: string): Line =>
    outbound
      ? new Line(packets, `${POD}:${port++}`, endpoint, endpoint, 2, nextIsn())
      : new Line(packets, `127.0.0.6:${port++}`, `${POD}:9080`, `${POD}:9080`, 1, nextIsn());

  interface Pending {
    readonly not: Pooled | undefined;
    readonly send: (ms: number, used: Pooled) => void;
  }
  const pending: Pending[] = [];

  /** A connection stands, or is free again: the request that waits longest takes it. */
  const free = (ms: number, one: Pooled): void => {
    const i = pending.findIndex(({ not }) => not !== one);
    if (i === -1) one.idleFrom = ms;
    else pending.splice(i, 1)[0]!.send(ms, one);
  };

  /** Sends the request on over the pool; `done` gets the moment at which the answer is there. */
  const forward = (ms: number, ask: Ask, status: number, done: (ms: number, used: Pooled) => void, not?: Pooled): void => {
    const send = (at: number, used: Pooled) => {
      used.idleFrom = BUSY;
      used.speaker.ask(at, `${ask.head}${'q'.repeat(ask.bodyBytes)}`);
      later(at + ask.serviceMs + 0.1, (now) => {
        const length = status === 503 ? 19 : ask.answerBytes;
        used.speaker.answer(now, `HTTP/1.1 ${status} X\r\ncontent-length: ${length}\r\n\r\n${'a'.repeat(length)}`);
        done(now + 0.02, used);
        later(now + 0.02, (then) => free(then, used));
      });
    };
    const idle = pool.filter((one) => one.idleFrom <= ms && one !== not).sort((a, b) => b.idleFrom - a.idleFrom)[0];
    if (idle !== undefined) {
      send(ms, idle);
      return;
    }
    pending.push({ not, send });
    const endpoint = ENDPOINTS[Math.floor(random() * ENDPOINTS.length)]!;
    const opened: Pooled = { speaker: new Speaker(poolLine(endpoint), outbound ? traffic.encryption : 'none'), endpoint, idleFrom: BUSY };
    pool.push(opened);
    later(opened.speaker.open(ms, between(0.05, 0.4), random), (now) => free(now, opened));
  };

  const converse = (client: Speaker, left: number, index: number, ms: number): void => {
    if (left === 0) {
      if (random() < 0.7) client.line.close(ms + 1);
      return;
    }
    const path = traffic.alike ? '/' : `/r/${number++}`;
    const bodyBytes = traffic.alike ? 0 : Math.floor(between(0, 3) ** 6);
    const answerBytes = traffic.alike ? 100 : Math.floor(between(0, 4) ** 6);
    const method = bodyBytes > 0 ? 'POST' : 'GET';
    const request = `${method} ${path} HTTP/1.1\r\nhost: shop:9080\r\n${bodyBytes > 0 ? `content-length: ${bodyBytes}\r\n` : ''}`;
    const ask: Ask = { path, head: `${request}x-forwarded-proto: http\r\n\r\n`, bodyBytes, answerBytes, serviceMs: between(0.2, 4) };
    client.ask(ms, `${request}\r\n${'q'.repeat(bodyBytes)}`);
    const reply = (at: number, status: number, fromUpstream: boolean) => {
      const length = fromUpstream ? answerBytes : 0;
      client.answer(
        at,
        `HTTP/1.1 ${status} X\r\n${fromUpstream ? 'x-envoy-upstream-service-time: 3\r\n' : ''}content-length: ${length}\r\n\r\n${'a'.repeat(length)}`,
      );
      later(at + between(0.1, 3), (now) => converse(client, left - 1, index + 1, now));
    };
    const down = client.line.from;
    if (random() < traffic.refused) {
      truth.push({ path, index, down, up: undefined });
      later(ms + between(0.05, 0.5), (now) => reply(now, 404, false));
      return;
    }
    const entry = { path, index, down, up: undefined as string | undefined };
    truth.push(entry);
    later(ms + between(0.02, 0.3), (now) => {
      const finish = (at: number, used: Pooled) => {
        entry.up = used.speaker.line.from;
        later(at + between(0.01, 0.2), (sent) => reply(sent, 200, true));
      };
      if (random() >= traffic.retried) forward(now, ask, 200, finish);
      else forward(now, ask, 503, (failed, used) => later(failed + between(0.02, 1), (again) => forward(again, ask, 200, finish, used)));
    });
  };

  for (let i = 0; i < traffic.connections; i++)
    later(between(0, 8), (ms) => {
      const client = new Speaker(clientLine(), outbound ? 'none' : traffic.encryption);
      const ready = client.open(ms, between(0.02, 0.3), random);
      later(ready + between(0.01, 2), (now) => converse(client, traffic.requestsEach, 0, now));
    });
  for (let event = events.pop(); event !== undefined; event = events.pop()) event.act(event.ms);
  return {
    packets: packets
      .map((packet, i) => ({ packet, i }))
      .sort((a, b) => a.packet.ms! - b.packet.ms! || a.i - b.i)
      .map(({ packet }) => packet),
    truth,
  };
}
