/**
 * The exchanges of one connection as places for requests: read in the clear they are exchanges of HTTP; encrypted they are a turn of the client's bytes and the server's answer.
 *
 * Of TLS only times and lengths are known. In TLS 1.3 the end of the handshake looks like data, so the first turn is loose: it may hold more than a request and its response.
 */

import type { ConnectionTracker } from '../flow/exchange.ts';
import type { Exchange } from '../flow/http.ts';
import type { Burst, Timeline } from '../flow/timeline.ts';

export interface Carried {
  /** In the order in which they ended. */
  readonly bursts: readonly Burst[];
  /** Index of the first one of the place. */
  readonly from: number;
  /** All that was sent since is there. */
  readonly sinceNs: number;
}

export interface Place {
  /** The connection, by the caller's number. */
  readonly connection: number;
  /** Serves any number of requests at once (HTTP/2), or may do so: nobody knows. */
  readonly shared: boolean;
  /** Bounds are of more than one request and its response. */
  readonly loose: boolean;
  /** Nothing follows on the connection. */
  readonly isLast: boolean;
  readonly firstClientNs: number;
  readonly lastClientNs: number;
  /** `undefined`: no answer. */
  readonly firstServerNs: number | undefined;
  readonly lastServerNs: number | undefined;
  /** Payload without what encryption adds, at most; `undefined` unknown. */
  readonly clientBytes: number | undefined;
  readonly serverBytes: number | undefined;
  /** Bytes of the client's application data up to the end of this turn: the same at both ends of the connection, wherever it was captured. */
  readonly clientEnd: number;
  /** TCP sequence number at which the request lies, as int32 bits: of its first byte in the clear, after its last record in TLS. The same at both ends. */
  readonly seq?: number;
  /** In the clear. */
  readonly exchange?: Exchange;
  /** Encrypted: what the connection carried. Absent where some of it was not seen. */
  readonly carried?: Carried;
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

/**
 * Can several requests be on their way on this connection at the same time? HTTP/2 has to be offered in the ClientHello; a connection whose hello was not seen may carry it.
 *
 * @param http2 what the configuration of the cluster says of the protocol towards it; `undefined` where nothing is known
 */
function isShared(tracker: ConnectionTracker, http2: boolean | undefined): boolean {
  if (tracker.protocol === 'http2') return true;
  if (tracker.protocol !== 'tls') return false;
  const hello = tracker.tls?.clientHello;
  if (tracker.tls?.alpn !== undefined) return !ONE_AT_A_TIME.has(tracker.tls.alpn);
  if (hello?.alpn?.every((name) => ONE_AT_A_TIME.has(name)) && http2 !== true) return false;
  return http2 !== false;
}

/** Were requests sent on here, or did they come in here? A connection of a pod with itself is asked for both. */
export type Side = keyof Timeline['settled'];

/** The places of a connection that are not settled, in the order of time. A shared one has a single place, from its first byte to its last. */
export function placesOf(connection: number, tracker: ConnectionTracker, http2: boolean | undefined, side: Side): Place[] {
  if (tracker.protocol === 'http1' || tracker.protocol === 'http2')
    return tracker.exchanges.flatMap((exchange) =>
      exchange.settled || (side === 'sent' ? exchange.sentSettled : exchange.cameSettled)
        ? []
        : (clearPlace(connection, exchange, tracker.protocol === 'http2') ?? []),
    );
  const { timeline } = tracker;
  if (tracker.protocol !== 'tls' || timeline === undefined) return [];
  const places = turns(connection, tracker, timeline);
  if (!isShared(tracker, http2) || places.length === 0) return places.filter((place) => !timeline.settled[side].has(place.clientEnd));
  const first = places[0]!;
  const last = places.at(-1)!;
  const answered = places.filter((place) => place.firstServerNs !== undefined);
  return [
    {
      connection,
      shared: true,
      loose: true,
      isLast: true,
      firstClientNs: timeline.forgotten.firstClientNs ?? first.firstClientNs,
      lastClientNs: last.lastClientNs,
      firstServerNs: answered[0]?.firstServerNs,
      lastServerNs: answered.at(-1)?.lastServerNs,
      clientBytes: undefined,
      serverBytes: undefined,
      clientEnd: last.clientEnd,
      ...(first.carried === undefined ? {} : { carried: first.carried }),
    },
  ];
}

/** An exchange in the clear. On HTTP/2 it still is one request's own. */
function clearPlace(connection: number, exchange: Exchange, http2: boolean): Place | undefined {
  if (exchange.request === undefined || exchange.requestStartNs === undefined) return undefined;
  return {
    connection,
    shared: false,
    loose: false,
    isLast: http2,
    firstClientNs: exchange.requestStartNs,
    lastClientNs: exchange.requestEndNs ?? exchange.requestStartNs,
    firstServerNs: exchange.responseStartNs,
    lastServerNs: exchange.responseEndNs,
    clientBytes: exchange.requestBytes,
    serverBytes: exchange.responseBytes,
    clientEnd: exchange.index,
    ...(exchange.requestSeq === undefined ? {} : { seq: exchange.requestSeq }),
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
  clientEnd: number;
  seq?: number;
  from: number;
}

function turns(connection: number, tracker: ConnectionTracker, timeline: Timeline): Place[] {
  const { bursts, forgotten } = timeline;
  const found: Turn[] = [];
  let turn: Turn | undefined;
  let clientEnd = forgotten.clientBytes;
  for (const [i, burst] of bursts.entries()) {
    const plain = burst.plainBytes === -1 ? undefined : burst.plainBytes;
    if (burst.direction === 0) {
      clientEnd += burst.bytes;
      if (turn === undefined || turn.firstServerNs !== undefined) {
        turn = {
          firstClientNs: burst.startNs,
          lastClientNs: burst.endNs,
          firstServerNs: undefined,
          lastServerNs: undefined,
          clientBytes: plain,
          serverBytes: 0,
          clientEnd,
          from: i,
        };
        found.push(turn);
      } else {
        turn.lastClientNs = burst.endNs;
        turn.clientBytes = sum(turn.clientBytes, plain);
        turn.clientEnd = clientEnd;
      }
      if (burst.endSeq !== undefined) turn.seq = burst.endSeq;
    } else if (turn !== undefined) {
      // What a server sends before the client's first bytes is its part of the handshake.
      turn.firstServerNs ??= burst.startNs;
      turn.lastServerNs = burst.endNs;
      turn.serverBytes = sum(turn.serverBytes, plain);
    }
  }
  const version = tracker.tls?.serverHello?.version;
  const handshakeHidden = !tracker.midstream && (version === undefined || version >= TLS13);
  const whole = timeline.overflow === 0 && tracker.missingBytes === 0;
  const sinceNs = tracker.midstream || forgotten.turns > 0 ? (bursts[0]?.startNs ?? Number.POSITIVE_INFINITY) : Number.NEGATIVE_INFINITY;
  return found.map(({ from, ...entry }, i) => ({
    connection,
    shared: false,
    // Session tickets follow the handshake, sometimes only after the first request was sent.
    loose: i + forgotten.turns <= 1 && handshakeHidden,
    isLast: i === found.length - 1,
    ...entry,
    ...(whole ? { carried: { bursts, from, sinceNs } } : {}),
  }));
}

function sum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b;
}
