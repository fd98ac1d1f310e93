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
import { cameFromUpstream, fitsDownstream, fitsUpstream, originalPath, sameRequestId } from './fit.ts';
import type { Hop, HopJoin } from './hop.ts';
import { IntervalIndex } from './interval-index.ts';
import { possiblePlaces } from './matching.ts';
import { type Place, placesOf } from './place.ts';
import { mayLeadTo, speaksHttp2 } from './upstreams.ts';

interface Item {
  readonly subject: Subject;
  readonly exchange: Exchange;
  readonly routed: RoutedDecision | undefined;
  readonly mustBePlaced: boolean;
  readonly fits: number[];
  /** The only place that carries the same request id in the clear. */
  readonly proven: number | undefined;
  /** There are more than FITS_MAX. */
  readonly crowded: boolean;
}

/** Where a request fits in more places than this, no more are looked at: nothing is proven of it, nor by it. */
const FITS_MAX = 1024;

/** Exchanges whose request was read, with the connection that carries them. */
function exchangesOf(subjects: readonly Subject[]): { subject: Subject; exchange: Exchange }[] {
  return subjects.flatMap((subject) =>
    (subject.tracker?.exchanges ?? []).flatMap((exchange) =>
      exchange.request !== undefined && exchange.requestStartNs !== undefined ? [{ subject, exchange }] : [],
    ),
  );
}

const SLACK_NS = 10_000;

/** All places of some connections, by time. */
class Places {
  readonly all: readonly Place[];
  readonly #connections: readonly Subject[];
  readonly #index: IntervalIndex;

  constructor(connections: readonly Subject[], http2: (subject: Subject) => boolean | undefined) {
    this.#connections = connections;
    this.all = connections.flatMap((subject, i) => placesOf(i, subject, http2(subject)));
    this.#index = new IntervalIndex(this.all.map(({ firstClientNs, untilNs }) => ({ fromNs: firstClientNs, toNs: untilNs })));
  }

  connectionOf(place: number): Subject {
    return this.#connections[this.all[place]!.connection]!;
  }

  /** The places in which the request may lie, by index; and the one that carries its request id, if it is the only one. */
  fitting(
    subject: Subject,
    exchange: Exchange,
    fits: (place: Place, connection: Subject) => boolean,
  ): Pick<Item, 'fits' | 'proven' | 'crowded'> {
    const until = exchange.responseEndNs ?? subject.flow.lastNs;
    const found = this.#index.overlapping(exchange.requestStartNs! - SLACK_NS, until + SLACK_NS).filter((place) => {
      const connection = this.connectionOf(place);
      return connection !== subject && fits(this.all[place]!, connection);
    });
    const same = found.filter((place) => idsAgree(exchange, this.all[place]!));
    if (same.length === 1) return { fits: same, proven: same[0]!, crowded: false };
    return found.length > FITS_MAX
      ? { fits: found.slice(0, FITS_MAX), proven: undefined, crowded: true }
      : { fits: found, proven: undefined, crowded: false };
  }
}

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
  const places = new Places(upstreams, speaksHttp2);
  const items = exchangesOf(downstreams).map(({ subject, exchange }): Item => {
    const facts = requestFacts(exchange, subject.base, undefined);
    const routed = subject.connection === undefined || facts === undefined ? undefined : decideRequest(subject.connection, facts);
    const found = places.fitting(
      subject,
      exchange,
      (place, upstream) => fitsUpstream(exchange, place) && mayLeadTo(routed, upstream, false),
    );
    const mustBePlaced = found.fits.length > 0 && !found.crowded && (cameFromUpstream(exchange) || found.proven !== undefined);
    return { subject, exchange, routed, mustBePlaced, ...found };
  });
  // A copy of a request goes where nobody looks for it.
  const copied = items.some(({ routed, crowded }) => routed === undefined || routed.mirrors.length > 0 || crowded);
  const serveOthers = new Map<Subject, boolean>();
  const isOwn = (place: number) => {
    if (copied) return false;
    const upstream = places.connectionOf(place);
    let others = serveOthers.get(upstream);
    if (others === undefined) {
      others = mayServeOthers(upstream);
      serveOthers.set(upstream, others);
    }
    return !others;
  };
  return assign(items, places.all, isOwn).map(({ item, connection, join, ...rest }): Hop => {
    const up = connection === undefined ? undefined : upstreams[connection]!;
    return {
      of: 'request',
      direction: 'outbound',
      down: item.subject,
      ...(up === undefined ? {} : { up }),
      ...(join === undefined ? {} : { join: named(join, upstreams) }),
      exchange: item.exchange,
      readOn: 'down',
      ...rest,
      ...(item.routed === undefined ? {} : { routed: item.routed }),
    };
  });
}

/**
 * Requests read on their way to the application, which came in over `downstreams`.
 *
 * @param allKnown is every connection that came in to the proxy among `downstreams`?
 */
export function joinInbound(
  upstreams: readonly Subject[],
  downstreams: readonly Subject[],
  http2: (downstream: Subject) => boolean | undefined,
  allKnown: boolean,
): Hop[] {
  const places = new Places(downstreams, http2);
  const items = exchangesOf(upstreams).map(({ subject, exchange }): Item => {
    const found = places.fitting(
      subject,
      exchange,
      (place, downstream) => fitsDownstream(exchange, place) && samePort(downstream, subject) && maybeFrom(exchange, downstream),
    );
    const mustBePlaced =
      found.fits.length > 0 && !found.crowded && ((allKnown && sentByProxy(subject, exchange)) || found.proven !== undefined);
    return { subject, exchange, routed: undefined, mustBePlaced, ...found };
  });
  return assign(items, places.all, () => false).map(({ item, connection, join, ...rest }): Hop => {
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
      ...rest,
      ...(routed === undefined ? {} : { routed }),
    };
  });
}

/**
 * Did the proxy send this request on? Envoy adds these headers to every one. The agent asks the application for its health from the same address, and what the application sends to
 * itself over loopback may carry headers that it passes on. Source: Envoy source/common/http/conn_manager_utility.cc, mutateRequestHeaders; Istio pilot-agent's application probes.
 */
function sentByProxy(subject: Subject, exchange: Exchange): boolean {
  if (subject.record.roles.includes('loopback')) return false;
  const { request } = exchange;
  return request?.requestId !== undefined || findField(request?.headers ?? [], 'x-forwarded-proto') !== undefined;
}

/**
 * Requests read on connections that came in in the clear, of which no request to the application was found to be the continuation: the proxy answered them itself, could not
 * reach the application, or several fit.
 */
export function unplacedInbound(hops: readonly Hop[], downstreams: readonly Subject[]): Hop[] {
  const used = new Set(hops.flatMap((hop) => hop.place?.exchange ?? []));
  return exchangesOf(downstreams)
    .filter(({ exchange }) => !used.has(exchange))
    .map(({ subject, exchange }): Hop => {
      const facts = requestFacts(exchange, subject.base, undefined);
      const routed = subject.connection === undefined || facts === undefined ? undefined : decideRequest(subject.connection, facts);
      return { of: 'request', direction: 'inbound', down: subject, exchange, readOn: 'down', ...(routed === undefined ? {} : { routed }) };
    });
}

/** The proxy sends what came in for a port on to that port, unless its cluster for it says another; or may, where its configuration is not known. */
export function samePort(downstream: Subject, upstream: Subject): boolean {
  const { envoy } = downstream.world;
  const { port } = downstream.translation.destination;
  if (envoy === undefined || upstream.translation.destination.port === port) return true;
  return envoy.configs.some((config) =>
    (config.clusters.get(`inbound|${port}||`) ?? []).some(({ value }) => value.type !== 'ORIGINAL_DST' && value.endpoints.length > 0),
  );
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

interface Assigned extends Pick<Hop, 'place' | 'mayLie'> {
  readonly item: Item;
  readonly connection?: number;
  readonly join?: OpenJoin;
}

/**
 * @param own is it known that whatever lies in the place is one of the items?
 */
function assign(items: readonly Item[], places: readonly Place[], own: (place: number) => boolean): Assigned[] {
  const competing = items.map((item) => (item.crowded ? { mustBePlaced: false, fits: [] } : item));
  const possible = possiblePlaces(competing, (place) => places[place]!.shared || places[place]!.several);
  const fitting = new Map<number, number>();
  for (const item of items) for (const place of item.fits) fitting.set(place, (fitting.get(place) ?? 0) + 1);
  return items.map((item, i): Assigned => {
    const left = item.crowded ? undefined : possible[i];
    if (!item.mustBePlaced) {
      // Nobody says that this one was sent on; but what was sent can be nobody else's.
      const surely = item.fits.filter((place) => fitting.get(place) === 1 && !places[place]!.loose && own(place));
      const only = new Set(surely.map((place) => places[place]!.connection));
      if (only.size === 1) return joined(item, surely, places, 'order');
    }
    const open = left ?? item.fits;
    if (open.length === 0) return { item };
    const connections = [...new Set(open.map((place) => places[place]!.connection))];
    if (left === undefined || connections.length > 1 || !item.mustBePlaced) {
      const reason = connections.length > 1 ? ('several-upstreams' as const) : ('no-upstream-seen' as const);
      return { item, join: { by: 'order', evidence: 'ambiguous', connections, reason } };
    }
    return joined(item, open, places, item.proven === undefined ? 'order' : 'request-id');
  });
}

/** The connection is known; the place on it, where it is the only one. */
function joined(item: Item, open: readonly number[], places: readonly Place[], by: OpenJoin['by']): Assigned {
  const left = open.map((place) => places[place]!);
  const { connection } = left[0]!;
  const join: OpenJoin = { by, evidence: by === 'request-id' ? 'observed' : 'derived', connections: [connection] };
  return { item, connection, join, ...(left.length === 1 && !left[0]!.shared ? { place: left[0]! } : { mayLie: left }) };
}

function named(join: OpenJoin, subjects: readonly Subject[]): HopJoin {
  const { by, evidence, reason, connections } = join;
  return {
    by,
    evidence,
    ...(evidence === 'ambiguous' ? { candidates: connections.map((i) => subjects[i]!) } : {}),
    ...(reason === undefined ? {} : { reason }),
  };
}
