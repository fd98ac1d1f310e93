/**
 * Can this request, seen in the clear on one side of a proxy, be the one in that place on its other side? Only what must hold in every case is asked for: causes come before
 * their effects, bodies pass whole, and what is in the clear on both sides is the same. A place that is struck out here cannot be the right one.
 */
import type { Exchange } from '../flow/http.ts';
import type { Burst } from '../flow/timeline.ts';
import type { Place } from './place.ts';
import { normalisePath } from './request-path.ts';

/** Stamps of one kernel; two processors may differ by less than this. */
const CLOCK_NS = 2_000;

const HEADER_LIMIT = 64;

function header(exchange: Exchange, name: string, of: 'request' | 'response'): string | undefined {
  const headers = exchange[of]?.headers ?? [];
  for (let i = 0; i < headers.length && i < HEADER_LIMIT; i++) {
    const field = headers[i]!;
    if (field.name === name) return field.value;
  }
  return undefined;
}

/** The path that the client asked for, where a proxy rewrote it. */
export function originalPath(exchange: Exchange): string | undefined {
  return header(exchange, 'x-envoy-original-path', 'request') ?? exchange.request?.path;
}

/**
 * Envoy's router adds this to a response that came from an upstream. Source: Envoy docs, router filter, x-envoy-upstream-service-time.
 * Nobody but an upstream switches protocols.
 */
export function cameFromUpstream(exchange: Exchange): boolean {
  return exchange.response?.status === 101 || header(exchange, 'x-envoy-upstream-service-time', 'response') !== undefined;
}

/** Place of the digit that Envoy changes in an x-request-id to note why it traces. Source: Envoy extensions/request_id/uuid. */
const TRACE_REASON_DIGIT = 14;

/** Do two x-request-id values name the same request? */
export function sameRequestId(a: string, b: string): boolean {
  if (a === b) return true;
  return (
    a.length === b.length &&
    a.length === 36 &&
    a.slice(0, TRACE_REASON_DIGIT) === b.slice(0, TRACE_REASON_DIGIT) &&
    a.slice(TRACE_REASON_DIGIT + 1) === b.slice(TRACE_REASON_DIGIT + 1)
  );
}

/** Envoy marks what it mirrors, and may send it when the request itself is answered. Source: Envoy docs, route_components.proto, request_mirror_policies. */
export const MIRRORED = /-shadow(?::\d+)?$/;

/** Was what was sent only a copy of what was asked for? It is answered to nobody. Both are known by their authorities. */
export function isMirrored(asked: string | undefined, sent: string | undefined): boolean {
  return MIRRORED.test(sent ?? '') && !MIRRORED.test(asked ?? '');
}

function agree(downstream: Exchange, upstream: Exchange): boolean {
  const a = downstream.request;
  const b = upstream.request;
  if (a === undefined || b === undefined) return true;
  if (a.method !== undefined && b.method !== undefined && a.method !== b.method) return false;
  const asked = downstream.request?.path;
  const sent = originalPath(upstream);
  const rewritten = header(upstream, 'x-envoy-original-path', 'request') === undefined && originalPath(downstream) !== asked;
  if (!rewritten && asked !== undefined && sent !== undefined && normalisePath(asked) !== normalisePath(sent)) return false;
  // Only a client that showed a certificate is passed on as one.
  if (
    header(upstream, 'x-forwarded-client-cert', 'request') !== undefined &&
    header(downstream, 'x-forwarded-client-cert', 'request') === undefined &&
    a.headersComplete
  )
    return false;
  const left = downstream.response?.status;
  const right = upstream.response?.status;
  return left === undefined || right === undefined || !cameFromUpstream(downstream) || left === right;
}

/** Index of the first burst that ends at this moment or later: they lie in the order in which they ended. */
function firstEnding(bursts: readonly Burst[], fromNs: number): number {
  let low = 0;
  let high = bursts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (bursts[middle]!.endNs < fromNs) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * An encrypted connection that any number of requests share: did it carry this one, and its response, between the moments at which they came in and went on? `true` also where nobody saw it all.
 */
function carriedMeanwhile(
  { requestStartNs, responseStartNs, responseEndNs, responseDone, responseBytes }: Exchange,
  place: Place,
  answered: boolean,
): boolean {
  const { carried } = place;
  if (!place.shared || carried === undefined || requestStartNs === undefined || requestStartNs < carried.sinceNs) return true;
  const fromNs = requestStartNs - CLOCK_NS;
  const sent = firstWithin(carried.bursts, 0, fromNs, (responseStartNs ?? Number.POSITIVE_INFINITY) + CLOCK_NS);
  if (sent === undefined) return false;
  if (!answered || responseStartNs === undefined) return true;
  const sentNs = Math.max(sent.startNs, fromNs) - CLOCK_NS;
  if (firstWithin(carried.bursts, 1, sentNs, responseStartNs + CLOCK_NS) === undefined) return false;
  const untilNs = responseDone && responseEndNs !== undefined ? responseEndNs + CLOCK_NS : Number.POSITIVE_INFINITY;
  return (
    !responseDone ||
    !tooShort(bytesWithin(carried.bursts, firstEnding(carried.bursts, sentNs), 1, untilNs, responseBytes ?? 0), responseBytes)
  );
}

/** The first burst of a direction that has a byte between two moments. */
function firstWithin(bursts: readonly Burst[], direction: 0 | 1, fromNs: number, toNs: number): Burst | undefined {
  for (let i = firstEnding(bursts, fromNs); i < bursts.length; i++) {
    const burst = bursts[i]!;
    if (burst.direction === direction) return burst.startNs > toNs ? undefined : burst;
  }
  return undefined;
}

/** Bursts that are looked at for one body. */
const BURSTS_MAX = 256;

/** Content of a direction in the bursts from `from` on that begin until then, or as much as is enough; `undefined` unknown. */
function bytesWithin(bursts: readonly Burst[], from: number, direction: 0 | 1, untilNs: number, enough: number): number | undefined {
  let bytes = 0;
  for (let i = from; i < bursts.length && bytes < enough; i++) {
    const burst = bursts[i]!;
    if (i - from >= BURSTS_MAX) return undefined;
    if (burst.direction !== direction) continue;
    if (burst.startNs > untilNs) break;
    if (burst.plainBytes === -1) return undefined;
    bytes += burst.plainBytes;
  }
  return bytes;
}

/**
 * Is there too little room for so many bytes in the place, and in what follows on its connection until then? An application that answers before it has read all cuts what is
 * sent to it into several turns.
 */
function isTooShort(place: Place, direction: 0 | 1, body: number | undefined, untilNs: number): boolean {
  if (!tooShort(direction === 0 ? place.clientBytes : place.serverBytes, body)) return false;
  const { carried } = place;
  return (
    place.exchange !== undefined ||
    carried === undefined ||
    tooShort(bytesWithin(carried.bursts, carried.from, direction, untilNs, body ?? 0), body)
  );
}

/** May the request have been sent in `place` at all, whatever became of it? An attempt that failed is tried again elsewhere, and its response is nobody's. */
export function mayHaveBeenTried(downstream: Exchange, place: Place): boolean {
  const { requestStartNs, responseStartNs } = downstream;
  if (requestStartNs === undefined || place.lastClientNs + CLOCK_NS < requestStartNs) return false;
  if (!place.loose && place.firstClientNs + CLOCK_NS < requestStartNs) return false;
  if (responseStartNs !== undefined && !place.shared && place.firstClientNs > responseStartNs + CLOCK_NS) return false;
  return carriedMeanwhile(downstream, place, false);
}

/** The request came in as `downstream`; was it sent on in `place`? */
export function fitsUpstream(downstream: Exchange, place: Place): boolean {
  const { requestStartNs, responseStartNs, responseEndNs } = downstream;
  if (requestStartNs === undefined) return false;
  if (place.lastClientNs + CLOCK_NS < requestStartNs) return false;
  if (!place.loose && place.firstClientNs + CLOCK_NS < requestStartNs) return false;
  const ended = downstream.responseDone ? responseEndNs : undefined;
  if (responseStartNs !== undefined) {
    if (place.firstClientNs > responseStartNs + CLOCK_NS && !place.shared) return false;
    if (cameFromUpstream(downstream)) {
      if (place.firstServerNs === undefined || place.firstServerNs > responseStartNs + CLOCK_NS) return false;
      if (!place.loose && !place.isLast && ended !== undefined && place.lastServerNs !== undefined && place.lastServerNs > ended + CLOCK_NS)
        return false;
      if (downstream.responseDone && isTooShort(place, 1, downstream.responseBytes, (ended ?? Number.POSITIVE_INFINITY) + CLOCK_NS))
        return false;
    }
  }
  if (downstream.requestDone && cameFromUpstream(downstream) && isTooShort(place, 0, downstream.requestBytes, Number.POSITIVE_INFINITY))
    return false;
  if (!carriedMeanwhile(downstream, place, cameFromUpstream(downstream))) return false;
  return (
    place.exchange === undefined ||
    (agree(downstream, place.exchange) && !isMirrored(downstream.request?.authority, place.exchange.request?.authority))
  );
}

/** The request was sent on as `upstream`; did it come in in `place`? */
export function fitsDownstream(upstream: Exchange, place: Place): boolean {
  const { requestStartNs, responseStartNs } = upstream;
  if (requestStartNs === undefined) return false;
  if (place.firstClientNs > requestStartNs + CLOCK_NS) return false;
  if (!place.shared && place.lastServerNs !== undefined && place.lastServerNs + CLOCK_NS < requestStartNs) return false;
  if (upstream.responseDone && responseStartNs !== undefined && header(upstream, 'expect', 'request') === undefined) {
    // A complete response is passed on: whatever the proxy sent to the client for this request, it sent after the response began.
    if (!place.shared && place.lastServerNs !== undefined && place.lastServerNs + CLOCK_NS < responseStartNs) return false;
    if (!place.loose && place.firstServerNs !== undefined && place.firstServerNs + CLOCK_NS < responseStartNs) return false;
    if (isTooShort(place, 1, upstream.responseBytes, Number.POSITIVE_INFINITY)) return false;
    if (
      place.shared &&
      place.carried !== undefined &&
      firstWithin(place.carried.bursts, 1, responseStartNs - CLOCK_NS, Number.POSITIVE_INFINITY) === undefined
    )
      return false;
  }
  if (upstream.requestDone && isTooShort(place, 0, upstream.requestBytes, Number.POSITIVE_INFINITY)) return false;
  return place.exchange === undefined || agree(place.exchange, upstream);
}

function tooShort(room: number | undefined, body: number | undefined): boolean {
  return room !== undefined && body !== undefined && room < body;
}
