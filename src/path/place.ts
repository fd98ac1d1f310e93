/**
 * The exchanges of one connection as places for requests: read in the clear they are exchanges of HTTP; encrypted they are a turn of the client's bytes and the server's answer.
 *
 * Of TLS only times and lengths are known. In TLS 1.3 the end of the handshake looks like data, so the first turn is loose: it may hold more than a request and its response.
 * What was on the wire and could not be read, or was not captured, is a place too, of which nothing is known: a request may always have been there.
 */
import type { Subject } from '../annotate/subject.ts';
import type { ConnectionTracker } from '../flow/exchange.ts';
import type { Exchange } from '../flow/http.ts';
import { isMeshProtocol } from '../istio/alpn.ts';

export interface Place {
  /** The connection, by the caller's number. */
  readonly connection: number;
  /** Serves any number of requests at once (HTTP/2), or may do so: nobody knows. */
  readonly shared: boolean;
  /** May hold several requests, one after the other, that were sent without waiting (pipelining). */
  readonly several: boolean;
  /** Bounds are of more than one request and its response. */
  readonly loose: boolean;
  /** Nothing follows on the connection. */
  readonly isLast: boolean;
  readonly firstClientNs: number;
  readonly lastClientNs: number;
  /** `undefined`: no answer. */
  readonly firstServerNs: number | undefined;
  readonly lastServerNs: number | undefined;
  /** Nothing can lie here later than this. */
  readonly untilNs: number;
  /** Payload without what encryption adds, at most; `undefined` unknown. */
  readonly clientBytes: number | undefined;
  readonly serverBytes: number | undefined;
  /** Where on the connection it lies, in a form that is the same at both ends, whoever captured it and from when on; `undefined` where it has no place of its own. */
  readonly mark: string | undefined;
  /** In the clear. */
  readonly exchange?: Exchange;
}

/** ALPN protocols under which one connection carries one request at a time. */
const ONE_AT_A_TIME: ReadonlySet<string> = new Set([
  'http/1.0',
  'http/1.1',
  'istio-http/1.0',
  'istio-http/1.1',
  'istio',
  'istio-peer-exchange',
]);

const TLS13 = 0x0304;
/** No request is shorter (`GET / HTTP/1.0` and two line ends; a frame of HTTP/2 with its preface is longer): the client's last words are often an alert. */
const REQUEST_MIN = 18;
/** So long after a connection's end its proxy may still send a request on that came in over it. */
const HANG_UP_NS = 10_000_000;

/**
 * Can several requests be on their way on this connection at the same time? HTTP/2 has to be offered in the ClientHello; a connection whose hello was not seen may carry it.
 *
 * @param http2 what the configuration of the cluster says of the protocol towards it; `undefined` where nothing is known
 */
function isShared(tracker: ConnectionTracker, http2: boolean | undefined): boolean {
  const hello = tracker.tls?.clientHello;
  if (tracker.tls?.alpn !== undefined) return !ONE_AT_A_TIME.has(tracker.tls.alpn);
  if (hello !== undefined && !hello.cut && hello.alpn.every((name) => ONE_AT_A_TIME.has(name)) && http2 !== true) return false;
  return http2 !== false;
}

/** A stretch of a connection of which nothing is known. */
function hiddenPlace(connection: number, fromNs: number, toNs: number): Place {
  return {
    connection,
    shared: true,
    several: true,
    loose: true,
    isLast: true,
    firstClientNs: fromNs,
    lastClientNs: toNs,
    firstServerNs: fromNs,
    lastServerNs: toNs,
    untilNs: toNs,
    clientBytes: undefined,
    serverBytes: undefined,
    mark: undefined,
  };
}

/** The places of a connection. What could be read comes first, in the order of time. A shared connection has a single place, from its first byte to its last. */
export function placesOf(connection: number, subject: Subject, http2: boolean | undefined): Place[] {
  const { tracker, flow } = subject;
  if (!flow.payloadToDestination && !flow.payloadToSource) return [];
  const whole = hiddenPlace(connection, flow.firstNs, flow.lastNs);
  if (tracker === undefined) return [whole];
  const { protocol } = tracker;
  const lost = tracker.holes.map(({ fromNs, toNs }) => hiddenPlace(connection, fromNs, toNs));
  if (protocol === 'http1' || protocol === 'http2') {
    const read = tracker.exchanges.flatMap((exchange) => clearPlace(connection, subject, exchange) ?? []);
    return [...read, ...(tracker.exchangeCount > tracker.exchanges.length ? [whole] : lost)];
  }
  if (protocol === 'tls') return [...encryptedPlaces(connection, subject, tracker, http2), ...lost];
  // Of another protocol, as far as could be seen.
  const read = protocol === 'other' || protocol === 'server-first';
  return read && !tracker.midstream && lost.length === 0 ? [] : [whole];
}

/** One that nobody answered may be asked for as long as its connection stands. */
function untilOf(subject: Subject, lastServerNs: number | undefined): number {
  if (lastServerNs !== undefined) return lastServerNs;
  return subject.flow.ended ? subject.flow.lastNs + HANG_UP_NS : Number.POSITIVE_INFINITY;
}

function encryptedPlaces(connection: number, subject: Subject, tracker: ConnectionTracker, http2: boolean | undefined): Place[] {
  const { timeline } = tracker;
  if (timeline === undefined) return [];
  const endNs = subject.flow.lastNs;
  const places = turns(connection, subject, tracker);
  if (isShared(tracker, http2) && places.length > 0) return [sharedPlace(connection, places, timeline.overflow > 0 ? endNs : undefined)];
  if (timeline.overflow > 0) places.push(hiddenPlace(connection, places.at(-1)?.lastClientNs ?? Number.NEGATIVE_INFINITY, endNs));
  return places;
}

function sharedPlace(connection: number, places: readonly Place[], endNs: number | undefined): Place {
  const answered = places.filter((place) => place.firstServerNs !== undefined);
  return {
    ...hiddenPlace(connection, places[0]!.firstClientNs, endNs ?? places.at(-1)!.lastClientNs),
    firstServerNs: answered[0]?.firstServerNs ?? endNs,
    lastServerNs: endNs ?? answered.at(-1)?.lastServerNs,
    untilNs: endNs ?? places.at(-1)!.untilNs,
  };
}

/** Where an exchange lies on its connection (see Place.mark). */
export function markOf(exchange: Exchange): string | undefined {
  if (exchange.streamId !== undefined) return `stream ${exchange.streamId}`;
  return exchange.requestSeq === undefined ? undefined : `request ${exchange.requestSeq}`;
}

/** An exchange in the clear. On HTTP/2 it still is one request's own. Of one whose request was not captured only the end is known. */
function clearPlace(connection: number, subject: Subject, exchange: Exchange): Place | undefined {
  const { requestStartNs, responseStartNs } = exchange;
  const unseen = exchange.request === undefined || requestStartNs === undefined;
  if (unseen && responseStartNs === undefined) return undefined;
  return {
    connection,
    shared: false,
    several: false,
    loose: unseen,
    isLast: exchange.streamId !== undefined,
    firstClientNs: unseen ? Number.NEGATIVE_INFINITY : requestStartNs,
    lastClientNs: unseen ? responseStartNs! : (exchange.requestEndNs ?? requestStartNs),
    firstServerNs: responseStartNs,
    lastServerNs: exchange.responseEndNs,
    untilNs: untilOf(subject, exchange.responseEndNs),
    clientBytes: unseen ? undefined : exchange.requestBytes,
    serverBytes: exchange.responseBytes,
    mark: unseen ? undefined : markOf(exchange),
    exchange,
  };
}

interface Turn {
  firstClientNs: number;
  lastClientNs: number;
  firstServerNs: number | undefined;
  lastServerNs: number | undefined;
  clientBytes: number | undefined;
  serverBytes: number | undefined;
  /** Sequence number after the client's last byte. */
  endSeq: number | undefined;
  /** The client sent nothing but its part of the handshake. */
  handshake: boolean;
}

function turns(connection: number, subject: Subject, tracker: ConnectionTracker): Place[] {
  const found: Turn[] = [];
  let turn: Turn | undefined;
  for (const burst of tracker.timeline?.bursts ?? []) {
    const plain = burst.plainBytes === -1 ? undefined : burst.plainBytes;
    if (burst.direction === 0) {
      if (turn === undefined || turn.firstServerNs !== undefined) {
        turn = {
          firstClientNs: burst.startNs,
          lastClientNs: burst.endNs,
          firstServerNs: undefined,
          lastServerNs: undefined,
          clientBytes: plain,
          serverBytes: 0,
          endSeq: burst.endSeq,
          handshake: burst.handshake,
        };
        found.push(turn);
      } else {
        turn.lastClientNs = burst.endNs;
        turn.clientBytes = sum(turn.clientBytes, plain);
        turn.endSeq = burst.endSeq;
        turn.handshake &&= burst.handshake;
      }
      continue;
    }
    if (turn === undefined) {
      // What a server sends before the client's first bytes is its part of the handshake; on a connection that began before, the answer to something that nobody saw.
      if (!tracker.midstream) continue;
      turn = {
        firstClientNs: Number.NEGATIVE_INFINITY,
        lastClientNs: burst.startNs,
        firstServerNs: undefined,
        lastServerNs: undefined,
        clientBytes: undefined,
        serverBytes: 0,
        endSeq: undefined,
        handshake: false,
      };
      found.push(turn);
    }
    turn.firstServerNs ??= burst.startNs;
    turn.lastServerNs = burst.endNs;
    turn.serverBytes = sum(turn.serverBytes, plain);
  }
  const version = tracker.tls?.serverHello?.version;
  const handshakeHidden = !tracker.midstream && (version === undefined || version >= TLS13);
  const hello = tracker.tls?.clientHello;
  const several = hello !== undefined && !hello.cut && !hello.alpn.some(isMeshProtocol);
  return found.flatMap(({ endSeq, handshake, ...entry }, i): Place | [] =>
    handshake || (entry.clientBytes ?? REQUEST_MIN) < REQUEST_MIN
      ? []
      : {
          connection,
          shared: false,
          several,
          // Session tickets follow the handshake, sometimes only after the first request was sent.
          loose: (i <= 1 && handshakeHidden) || entry.firstClientNs === Number.NEGATIVE_INFINITY,
          isLast: i === found.length - 1,
          ...entry,
          untilNs: Math.max(entry.lastClientNs, untilOf(subject, entry.lastServerNs)),
          mark: endSeq === undefined ? undefined : `record ${endSeq}`,
        },
  );
}

function sum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b;
}
