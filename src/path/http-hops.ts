/**
 * Joins the requests of one proxy: those that came in with the connections on which they went on.
 *
 * Where both legs are in the clear the request id proves it. Where one is encrypted, order, time and bytes do, if they leave one possibility: every assignment of requests to
 * connections that fits has to agree (matching.ts). Otherwise the candidates are named.
 */
import { requestFacts } from '../annotate/envoy.ts';
import type { Subject } from '../annotate/subject.ts';
import { findField } from '../decode/header-field.ts';
import type { RoutedDecision } from '../envoy/alternative.ts';
import { decideRequest } from '../envoy/request.ts';
import type { Exchange } from '../flow/http.ts';
import { cameFromUpstream, fitsDownstream, fitsUpstream, mayHaveBeenTried, originalPath, sameRequestId } from './fit.ts';
import type { Hop, HopJoin } from './hop.ts';
import { possiblePlaces } from './matching.ts';
import { type Place, placesOf, type Side } from './place.ts';
import { mayGoOnTo, surelyCameIn } from './to-application.ts';
import { mayLeadTo, speaksHttp2 } from './upstreams.ts';

interface Item {
  readonly subject: Subject;
  readonly exchange: Exchange;
  readonly routed: RoutedDecision | undefined;
  readonly mustBePlaced: boolean;
  readonly fits: number[];
  /** Places in which it may have been sent, though another answered it. */
  readonly tried: number[];
  /** It fits a single place, which carries the same request id in the clear. */
  readonly proven: boolean;
}

/** At most this many candidates are named. */
export const CANDIDATES_MAX = 256;

/** Exchanges whose request was read, with the connection that carries them. */
function exchangesOf(subjects: readonly Subject[]): { subject: Subject; exchange: Exchange }[] {
  return subjects.flatMap((subject) =>
    (subject.tracker?.exchanges ?? []).flatMap((exchange) =>
      exchange.request !== undefined && exchange.requestStartNs !== undefined && !exchange.settled ? [{ subject, exchange }] : [],
    ),
  );
}

function allPlaces(subjects: readonly Subject[], http2: (subject: Subject) => boolean | undefined, side: Side): Place[] {
  return subjects.flatMap((subject, i) => (subject.tracker === undefined ? [] : placesOf(i, subject.tracker, http2(subject), side)));
}

/** The places of one connection, in the order in which they begin. */
interface ConnectionPlaces {
  readonly indices: readonly number[];
  /** When the last of the places so far ends; one that was never answered ends with its connection. */
  readonly endsNs: readonly number[];
}

/** Indices of places that may hold something of [from, to], by connection in time. On HTTP/2 one that began early may end late. */
function* overlapping(
  places: readonly Place[],
  byConnection: readonly ConnectionPlaces[],
  fromNs: number,
  toNs: number,
): Generator<number> {
  for (const { indices, endsNs } of byConnection) {
    let low = 0;
    let high = indices.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (endsNs[middle]! < fromNs) low = middle + 1;
      else high = middle;
    }
    for (let i = low; i < indices.length; i++) {
      const place = places[indices[i]!]!;
      if (place.firstClientNs > toNs) break;
      yield indices[i]!;
    }
  }
}

function indexByConnection(places: readonly Place[]): ConnectionPlaces[] {
  const lists: { indices: number[]; endsNs: number[] }[] = [];
  places.forEach((place, i) => {
    lists[place.connection] ??= { indices: [], endsNs: [] };
    const { indices, endsNs } = lists[place.connection]!;
    const endNs = place.lastServerNs === undefined ? Number.POSITIVE_INFINITY : Math.max(place.lastClientNs, place.lastServerNs);
    indices.push(i);
    endsNs.push(Math.max(endNs, endsNs.at(-1) ?? 0));
  });
  return lists.filter((list) => list !== undefined);
}

const SLACK_NS = 10_000;

/**
 * Requests read on downstream legs (the application's, a gateway's clients'), sent on over `upstreams`.
 *
 * @param mayServeOthers may this upstream connection carry something else than the requests of `downstreams`?
 */
export function joinOutbound(
  downstreams: readonly Subject[],
  upstreams: readonly Subject[],
  mayServeOthers: (upstream: Subject) => boolean,
): Hop[] {
  const places = allPlaces(upstreams, speaksHttp2, 'sent');
  const byConnection = indexByConnection(places);
  const items: Item[] = exchangesOf(downstreams).map(({ subject, exchange }) => {
    const facts = requestFacts(exchange, subject.base, undefined);
    const routed = subject.connection === undefined || facts === undefined ? undefined : decideRequest(subject.connection, facts);
    const fits: number[] = [];
    const tried: number[] = [];
    const named: number[] = [];
    const until = exchange.responseEndNs ?? subject.flow.lastNs;
    for (const i of overlapping(places, byConnection, exchange.requestStartNs! - SLACK_NS, until + SLACK_NS)) {
      const place = places[i]!;
      const upstream = upstreams[place.connection]!;
      if (upstream === subject || !mayHaveBeenTried(exchange, place) || !mayLeadTo(routed, upstream, false)) continue;
      tried.push(i);
      if (!fitsUpstream(exchange, place)) continue;
      fits.push(i);
      if (idsAgree(exchange, place)) named.push(i);
    }
    return {
      subject,
      exchange,
      routed,
      mustBePlaced: cameFromUpstream(exchange) && fits.length > 0,
      fits: named.length === 0 ? fits : named,
      tried,
      // What is tried again, or mirrored, has the same id.
      proven: named.length === 1,
    };
  });
  const serves = new Map<number, boolean>();
  const own = (place: number) => {
    const { connection } = places[place]!;
    let others = serves.get(connection);
    if (others === undefined) {
      others = mayServeOthers(upstreams[connection]!);
      serves.set(connection, others);
    }
    return !others;
  };
  return assign(items, places, own).map(({ item, connection, lies, join }): Hop => {
    const up = connection === undefined ? undefined : upstreams[connection]!;
    return {
      of: 'request',
      direction: 'outbound',
      down: item.subject,
      ...(up === undefined ? {} : { up }),
      ...(join === undefined ? {} : { join: named(join, upstreams) }),
      exchange: item.exchange,
      readOn: 'down',
      tried: [...new Set(item.tried.map((i) => upstreams[places[i]!.connection]!))],
      ...lies,
      ...(item.routed === undefined ? {} : { routed: item.routed }),
    };
  });
}

/** What the other namespaces tell of connections that come in. */
export interface Senders {
  /** Does the client's proxy speak HTTP/2 on this connection? `undefined` where its configuration was not recorded. */
  http2(downstream: Subject): boolean | undefined;
  /** May the client's proxy have sent this request on this connection? `undefined` where it was not recorded, or not all that it was asked for could be read. */
  maySend(downstream: Subject, exchange: Exchange): boolean | undefined;
}

/** Requests read on their way to the application, which came in over `downstreams`. */
export function joinInbound(upstreams: readonly Subject[], downstreams: readonly Subject[], senders: Senders): Hop[] {
  const places = allPlaces(downstreams, (downstream) => senders.http2(downstream), 'came');
  const byConnection = indexByConnection(places);
  const all = exchangesOf(upstreams);
  const cameIn = surelyCameIn(all);
  const items: Item[] = all.map(({ subject, exchange }) => {
    let fits: number[] = [];
    const named: number[] = [];
    const until = exchange.responseEndNs ?? subject.flow.lastNs;
    for (const i of overlapping(places, byConnection, exchange.requestStartNs! - SLACK_NS, until + SLACK_NS)) {
      const place = places[i]!;
      const downstream = downstreams[place.connection]!;
      if (downstream === subject || !fitsDownstream(exchange, place) || !mayGoOnTo(downstream, subject) || !maybeFrom(exchange, downstream))
        continue;
      fits.push(i);
      if (idsAgree(exchange, place)) named.push(i);
    }
    fits = named.length > 0 ? named : sentBy(exchange, fits, places, downstreams, senders);
    return {
      subject,
      exchange,
      routed: undefined,
      mustBePlaced: fits.length > 0 && cameIn({ subject, exchange }),
      fits,
      tried: fits,
      proven: named.length === 1,
    };
  });
  return assign(items, places, () => false).map(({ item, connection, lies, join }): Hop => {
    const down = connection === undefined ? undefined : downstreams[connection]!;
    const facts = down === undefined ? undefined : requestFacts(item.exchange, item.subject.base, originalPath(item.exchange));
    const routed = down?.connection === undefined || facts === undefined ? undefined : decideRequest(down.connection, facts);
    return {
      of: 'request',
      direction: 'inbound',
      up: item.subject,
      ...(down === undefined ? {} : { down }),
      ...(join === undefined ? {} : { join: named(join, downstreams) }),
      exchange: item.exchange,
      readOn: 'up',
      ...lies,
      ...(routed === undefined ? {} : { routed }),
    };
  });
}

/**
 * Of several connections that a request may have come in on, those on which the client's proxy may have sent it: only where that is known of all of them, for then it came over one of these.
 */
function sentBy(exchange: Exchange, fits: number[], places: readonly Place[], downstreams: readonly Subject[], senders: Senders): number[] {
  const connections = new Set(fits.map((i) => places[i]!.connection));
  if (connections.size < 2) return fits;
  const left = new Set<number>();
  for (const connection of connections) {
    // What can be read there was compared already.
    const readable = fits.some((i) => places[i]!.connection === connection && places[i]!.exchange !== undefined);
    const may = readable || senders.maySend(downstreams[connection]!, exchange);
    if (may === undefined) return fits;
    if (may) left.add(connection);
  }
  return left.size === 0 ? fits : fits.filter((i) => left.has(places[i]!.connection));
}

/**
 * Requests read on connections that came in in the clear, of which no request to the application was found to be the continuation: the proxy answered them itself, could not
 * reach the application, or several fit.
 */
export function unplacedInbound(hops: readonly Hop[], downstreams: readonly Subject[]): Hop[] {
  const used = new Set(hops.flatMap((hop) => (hop.place?.exchange === undefined ? [] : [hop.place.exchange])));
  // As many went on from some as there are: none of them is another one.
  const among = new Map<string, number>();
  for (const { down, mayLie } of hops) {
    if (down === undefined || mayLie === undefined) continue;
    const key = `${down.record.id} ${mayLie.map(({ clientEnd }) => clientEnd)}`;
    const count = (among.get(key) ?? 0) + 1;
    among.set(key, count);
    if (count === mayLie.length) for (const { exchange } of mayLie) if (exchange !== undefined) used.add(exchange);
  }
  return exchangesOf(downstreams)
    .filter(({ exchange }) => !used.has(exchange) && !exchange.cameSettled)
    .map(({ subject, exchange }): Hop => {
      const facts = requestFacts(exchange, subject.base, undefined);
      const routed = subject.connection === undefined || facts === undefined ? undefined : decideRequest(subject.connection, facts);
      return { of: 'request', direction: 'inbound', down: subject, exchange, readOn: 'down', ...(routed === undefined ? {} : { routed }) };
    });
}

/** The client's identity as the certificate showed it, which the proxy passed on; and the one that the pod with the client's address runs as. */
function maybeFrom(upstream: Exchange, downstream: Subject): boolean {
  const forwarded = findField(upstream.request?.headers ?? [], 'x-forwarded-client-cert');
  const identity = forwarded === undefined ? undefined : /.*URI=spiffe:\/\/[^/;,"]+\/ns\/([^/;,"]+)\/sa\/([^/;,"]+)/s.exec(forwarded);
  if (identity === undefined || identity === null) return true;
  const pod = downstream.world.names.podByIp(downstream.translation.source.ip);
  return pod?.serviceAccount === undefined || (pod.namespace === identity[1] && pod.serviceAccount === identity[2]);
}

function idsAgree(exchange: Exchange, place: Place): boolean {
  const a = exchange.request?.requestId;
  const b = place.exchange?.request?.requestId;
  return a !== undefined && b !== undefined && sameRequestId(a, b);
}

interface OpenJoin {
  readonly by: 'order' | 'request-id';
  readonly evidence: HopJoin['evidence'];
  readonly connections: readonly number[];
  readonly reason?: HopJoin['reason'];
}

interface Assigned {
  readonly item: Item;
  /** Where that is known; and where on it the request that was answered lies, or, where others may lie in the same places, in which of them it may. */
  readonly connection?: number;
  readonly lies?: Pick<Hop, 'place' | 'mayLie'>;
  readonly join?: OpenJoin;
}

/**
 * @param own is it known that whatever lies in the place is one of the items?
 */
function assign(items: readonly Item[], places: readonly Place[], own: (place: number) => boolean): Assigned[] {
  const possible = possiblePlaces(items, (place) => places[place]!.shared);
  const fitting = new Map<number, number>();
  const wanted = new Map<number, number>();
  items.forEach((item, i) => {
    for (const place of item.tried) fitting.set(place, (fitting.get(place) ?? 0) + 1);
    for (const place of possible[i] ?? item.fits) wanted.set(place, (wanted.get(place) ?? 0) + 1);
  });
  /** On HTTP/1 turns follow each other, so that of several attempts the last was answered, if it can be nobody else's. On HTTP/2 what begins later may well end before. */
  const isAnswered = (place: number) => wanted.get(place) === 1 && own(place) && places[place]!.exchange?.streamId === undefined;
  return items.map((item, i): Assigned => {
    const left = possible[i];
    if (!item.mustBePlaced) {
      // Nobody says that this one was sent on; but what was sent can be nobody else's.
      const surely = item.fits.filter((place) => fitting.get(place) === 1 && !places[place]!.loose && own(place));
      const only = new Set(surely.map((place) => places[place]!.connection));
      if (only.size === 1) {
        const place = places[surely.at(-1)!]!;
        return { item, connection: place.connection, lies: { place }, join: { by: 'order', evidence: 'derived', connections: [...only] } };
      }
    }
    const open = left ?? item.fits;
    if (open.length === 0) return { item };
    const connections = [...new Set(open.map((place) => places[place]!.connection))];
    if (left === undefined || connections.length > 1 || !item.mustBePlaced) {
      const reason = connections.length > 1 ? 'several-upstreams' : 'no-upstream-seen';
      return { item, join: { by: 'order', evidence: 'ambiguous', connections, reason } };
    }
    const join: OpenJoin = item.proven
      ? { by: 'request-id', evidence: 'observed', connections }
      : { by: 'order', evidence: 'derived', connections };
    const last = open.at(-1)!;
    const isKnown = open.length === 1 || isAnswered(last);
    const lies = isKnown ? { place: places[last]! } : { mayLie: open.map((place) => places[place]!) };
    return { item, connection: connections[0]!, lies, join };
  });
}

function named(join: OpenJoin, subjects: readonly Subject[]): HopJoin {
  const { by, evidence, reason, connections } = join;
  return {
    by,
    evidence,
    ...(evidence === 'ambiguous' ? { candidates: connections.slice(0, CANDIDATES_MAX).map((i) => subjects[i]!) } : {}),
    ...(reason === undefined ? {} : { reason }),
  };
}
