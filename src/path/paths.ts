/**
 * Makes the path records: the legs of each request, and of each connection that carries no request that could be read, in the order of travel over all namespaces.
 * Writes into the flows what only paths know: the decision for their first request, the role of a leg that a join revealed, the ids of their paths.
 */

import type { Subject } from '../annotate/subject.ts';
import { type Observed, settle } from '../envoy/settle.ts';
import { roundMs } from '../flow/flow-record.ts';
import type { Exchange } from '../flow/http.ts';
import { formatTime } from '../net/time.ts';
import { idOf } from '../record/id.ts';
import type { Decision, PathJoin, PathLeg, PathRecord, RequestRecord } from '../record/record.ts';
import type { Redaction } from '../record/redact.ts';
import { bareRequestPaths } from './bare-requests.ts';
import { Counterparts, followingHop } from './chain.ts';
import { Clocks } from './clocks.ts';
import { cameFromUpstream, originalPath } from './fit.ts';
import type { Hop } from './hop.ts';
import { CANDIDATES_MAX } from './http-hops.ts';
import { push } from './multi-map.ts';
import { hopsOut, legsOf, NOTHING_STANDS, namespaceHops, type Standing } from './namespace-hops.ts';
import { unlinkedSecondPass } from './second-pass.ts';
import { sendersOf } from './senders.ts';

/** Paths named in one flow record; then only their number. */
const PATHS_NAMED_MAX = 16;

/** A path together with what it was made of. */
export interface FoundPath {
  readonly record: PathRecord;
  /** In the order of travel; none where the path is a connection that no proxy took part in, or of which nothing more is known. */
  readonly hops: readonly Hop[];
  readonly legs: readonly Subject[];
  /** The request, as it was read first. */
  readonly exchange?: Exchange;
}

/**
 * A pod that calls itself passes its proxy twice: the whole is one path, and the second pass is one of its own, too, with the whole as its parent.
 *
 * @param namespaces the connections of each network namespace
 */
export function findPaths(namespaces: readonly (readonly Subject[])[], redaction: Redaction): PathRecord[] {
  const paths = assemblePaths(namespaces, redaction).map(({ record }) => record);
  linkFlows(namespaces.flat(), paths);
  return paths;
}

/** As {@link findPaths}, without naming the paths in the flows. @param standing connections that are told, see {@link Standing} */
export function assemblePaths(
  namespaces: readonly (readonly Subject[])[],
  redaction: Redaction,
  standing: Standing = NOTHING_STANDS,
): FoundPath[] {
  const all = namespaces.flat();
  const counterparts = new Counterparts(all);
  const parts = namespaces.map((subjects) => {
    const legs = legsOf(subjects);
    return { legs, out: hopsOut(legs, standing) };
  });
  const clocks = new Clocks(counterparts.pairs());
  const senders = sendersOf(parts, counterparts, clocks);
  const hops = parts.flatMap(({ legs, out }) => namespaceHops(legs, out, senders, standing));
  for (const hop of hops) settleHop(hop);
  tellFlows(hops);
  return new Assembly(hops, all, counterparts, clocks, redaction).found();
}

/** Holds the prediction against what was seen upstream. */
function settleHop(hop: Hop): void {
  const { routed, up, exchange } = hop;
  if (routed === undefined) return;
  const status = exchange?.response?.status;
  const sni = up?.tracker?.tls?.clientHello?.sni;
  const observed: Observed = {
    ...(up === undefined ? {} : { upstream: up.translation.destination }),
    ...(up === undefined || up.tracker?.protocol !== 'tls' || (sni === undefined && up.flow.midstream) ? {} : { upstreamSni: sni ?? '' }),
    ...(status === undefined ? {} : { responseStatus: status }),
    ...(up === undefined && hop.join === undefined && status !== undefined && exchange !== undefined && !cameFromUpstream(exchange)
      ? { noUpstream: true }
      : {}),
  };
  hop.routed = settle(routed, observed);
}

/** The first decision of each downstream connection, and the roles that joins reveal. */
function tellFlows(hops: readonly Hop[]): void {
  const first = new Map<Subject, Hop>();
  for (const hop of hops) {
    if (hop.down !== undefined && hop.routed !== undefined) {
      const known = first.get(hop.down);
      if (known === undefined || startOf(hop) < startOf(known)) first.set(hop.down, hop);
    }
    if (hop.up === undefined || hop.join === undefined || hop.join.evidence === 'ambiguous') continue;
    const { record } = hop.up;
    if (hop.direction === 'outbound' && record.roles.includes('unknown')) record.roles = ['proxy-to-upstream'];
    else if (hop.direction === 'inbound' && (record.roles.includes('loopback') || record.roles.includes('unknown')))
      record.roles = ['proxy-to-app'];
  }
  for (const [subject, hop] of first) subject.record.envoy = hop.routed!.decision;
}

function startOf(hop: Hop): number {
  return hop.exchange?.requestStartNs ?? hop.down?.flow.firstNs ?? 0;
}

class Assembly {
  readonly #hops: readonly Hop[];
  readonly #subjects: readonly Subject[];
  readonly #counterparts: Counterparts;
  readonly #clocks: Clocks;
  readonly #redaction: Redaction;
  readonly #byDown = new Map<Subject, Hop[]>();
  /** Inbound requests that may have come in on a connection. */
  readonly #mayBeOf = new Map<Subject, Hop[]>();
  readonly #next = new Map<Hop, Hop>();
  readonly #hasPrevious = new Set<Hop>();
  readonly #told = new Set<Subject>();
  /** Connections that came in encrypted and of which not every request is known; and those on which their requests went on, or may have. */
  readonly #mayGoOn = new Map<Subject, Set<Subject>>();
  readonly #openTold = new Set<Subject>();

  constructor(hops: readonly Hop[], subjects: readonly Subject[], counterparts: Counterparts, clocks: Clocks, redaction: Redaction) {
    this.#hops = hops;
    this.#subjects = subjects;
    this.#counterparts = counterparts;
    this.#clocks = clocks;
    this.#redaction = redaction;
    for (const hop of hops) {
      if (hop.down !== undefined) push(this.#byDown, hop.down, hop);
      else if (hop.direction === 'inbound') for (const down of hop.join?.candidates ?? []) push(this.#mayBeOf, down, hop);
    }
    for (const hop of hops) this.#link(hop);
    const open = new Set(
      hops.flatMap((hop) => (hop.direction === 'inbound' && hop.down === undefined ? (hop.join?.candidates ?? []) : [])),
    );
    for (const hop of hops) {
      if (hop.direction !== 'inbound' || hop.up === undefined) continue;
      for (const down of hop.down === undefined ? (hop.join?.candidates ?? []) : [hop.down])
        if (open.has(down)) this.#mayGoOn.set(down, (this.#mayGoOn.get(down) ?? new Set()).add(hop.up));
    }
  }

  found(): FoundPath[] {
    const found: FoundPath[] = [];
    const parents = new Map<Hop, string>();
    for (const hop of this.#hops) {
      if (this.#hasPrevious.has(hop)) continue;
      const chain = [hop];
      for (let next = this.#next.get(hop); next !== undefined && !chain.includes(next) && chain.length < 8; next = this.#next.get(next))
        chain.push(next);
      const whole = this.#path(chain);
      const { record } = whole;
      for (const part of chain) parents.set(part, record.id);
      const again = chain.findIndex((part, i) => i > 0 && part.down?.world === chain[i - 1]!.up?.world);
      if (again !== -1) {
        const second = this.#path(chain.slice(again));
        found.push({ ...second, record: { ...second.record, first: record.first, parent: record.id } });
      }
      const unlinked = unlinkedSecondPass(whole, chain.at(-1)!);
      if (unlinked !== undefined) found.push(unlinked);
      found.push(whole);
    }
    this.#tellParents(
      found.map(({ record }) => record),
      parents,
    );
    for (const subject of this.#subjects) {
      if (this.#told.has(subject) && (!this.#mayGoOn.has(subject) || this.#openTold.has(subject))) continue;
      const departure = this.#counterparts.departureOf(subject);
      if (departure !== undefined && !this.#told.has(departure.subject)) continue;
      const single = this.#single(subject);
      for (const request of bareRequestPaths(single.record, subject, this.#redaction)) found.push({ ...single, ...request });
    }
    return found;
  }

  /** Finds the hop that follows: in this namespace when the upstream leg is also the next one's downstream leg (a pod that calls itself), else where it comes in. */
  #link(hop: Hop): void {
    if (hop.up === undefined || hop.join === undefined || hop.join.evidence === 'ambiguous') return;
    const arrived = hop.up.record.roles.includes('client-to-proxy') ? hop.up : this.#counterparts.arrivalOf(hop.up)?.subject;
    if (arrived === undefined) return;
    const following = this.#byDown.get(arrived) ?? [];
    const next = followingHop(hop, following, this.#mayBeOf.get(arrived) ?? [], this.#clocks) ?? this.#unread(hop, following);
    if (
      next === undefined ||
      next === hop ||
      this.#hasPrevious.has(next) ||
      (next.join !== undefined && next.join.evidence === 'ambiguous' && next.up !== undefined)
    )
      return;
    this.#next.set(hop, next);
    this.#hasPrevious.add(next);
  }

  /** Nobody could read what came in there; if this was the only request sent on that connection, what is known of the connection is known of the request. */
  #unread(hop: Hop, following: readonly Hop[]): Hop | undefined {
    const [only] = following;
    if (hop.of !== 'request' || following.length !== 1 || only === undefined || only.of !== 'connection' || hop.place === undefined)
      return undefined;
    const isOnly = this.#hops.filter((other) => other.up === hop.up && other.of === 'request').length === 1 && !hasSettled(hop.up);
    return isOnly && hop.place.isLast ? only : undefined;
  }

  #path(chain: readonly Hop[]): FoundPath {
    const legs: Subject[] = [];
    const joins: PathJoin[] = [];
    const head = chain[0]!;
    if (head.down !== undefined) {
      const departure = this.#counterparts.departureOf(head.down);
      if (departure !== undefined) {
        legs.push(departure.subject, head.down);
        joins.push({ from: 0, to: 1, by: 'tuple', evidence: departure.evidence });
      } else legs.push(head.down);
    }
    for (const [i, hop] of chain.entries()) {
      if (i > 0 && hop.down !== undefined && legs.at(-1) !== hop.down) {
        const evidence = this.#counterparts.departureOf(hop.down)?.evidence ?? 'derived';
        legs.push(hop.down);
        joins.push({ from: legs.length - 2, to: legs.length - 1, by: 'tuple', evidence });
      }
      if (hop.up === undefined) {
        if (hop.join !== undefined && legs.length > 0) joins.push(openJoin(legs.length - 1, hop));
        continue;
      }
      const from = legs.length - 1;
      for (const attempt of hop.attempts ?? []) {
        if (legs.includes(attempt)) continue;
        legs.push(attempt);
        joins.push({ from, to: legs.length - 1, by: hop.join!.by, evidence: hop.join!.evidence });
      }
      if (hop.down === undefined) legs.push(hop.up);
      else if (!legs.includes(hop.up)) {
        legs.push(hop.up);
        joins.push({ from, to: legs.length - 1, by: hop.join!.by, evidence: hop.join!.evidence });
      }
      if (hop.down === undefined && hop.join !== undefined) joins.push(openJoin(legs.length - 1, hop));
    }
    const last = chain.at(-1)!;
    const arrival = last.up === undefined || legs.at(-1) !== last.up ? undefined : this.#counterparts.arrivalOf(last.up);
    if (arrival !== undefined && !legs.includes(arrival.subject)) {
      legs.push(arrival.subject);
      joins.push({ from: legs.length - 2, to: legs.length - 1, by: 'tuple', evidence: arrival.evidence });
    }
    for (const leg of legs) this.#told.add(leg);
    this.#leaveOpen(legs, joins);
    const exchange = chain[0]!.of === 'request' ? chain[0]!.exchange : undefined;
    return { record: this.#make(chain, legs, joins), hops: chain, legs, ...(exchange === undefined ? {} : { exchange }) };
  }

  /** The last leg came in to a proxy: names the connections on which it may have gone on. */
  #leaveOpen(legs: readonly Subject[], joins: PathJoin[]): void {
    const last = legs.at(-1);
    const ups = last === undefined ? undefined : this.#mayGoOn.get(last);
    if (last === undefined || ups === undefined || joins.some((join) => join.from === legs.length - 1 && join.candidates !== undefined))
      return;
    const candidates = [...ups].slice(0, CANDIDATES_MAX).map((up) => up.record.id);
    joins.push({ from: legs.length - 1, to: legs.length - 1, by: 'order', evidence: 'ambiguous', candidates, reason: 'several-upstreams' });
  }

  #make(chain: readonly Hop[], legs: readonly Subject[], joins: PathJoin[]): PathRecord {
    const head = chain[0]!;
    const first = legs[0]!;
    const span = spanOf(chain, legs);
    const decisions = chain.flatMap((hop) => {
      const decision = hop.routed?.decision ?? hop.down?.connection?.decision;
      const subject = hop.down ?? hop.up!;
      return decision === undefined ? [] : [{ netns: subject.record.netns, decision }];
    });
    const request = head.of === 'request' ? requestOf(chain, this.#redaction) : undefined;
    const latency = latencyOf(chain, legs);
    const id = idOf(
      `${first.record.id} ${head.of} ${span.first} ${chain.map((hop) => `${hop.exchange?.index ?? ''}`).join(',')} ${head.up?.record.id ?? ''}`,
    );
    return {
      type: 'path',
      id,
      event: isOver(chain, legs) ? 'close' : 'update',
      of: head.of,
      first: span.first,
      last: span.last,
      complete: isComplete(chain, legs, joins),
      legs: placedLegs(chain, legs),
      joins,
      ...(request === undefined ? {} : { request }),
      ...(decisions.length === 0 ? {} : { decisions }),
      ...(latency.length === 0 ? {} : { latency }),
    };
  }

  /** A connection that no proxy took part in, or of which nothing more is known; with the other end's view of it, where there is one. */
  #single(subject: Subject): FoundPath {
    const arrival = this.#counterparts.arrivalOf(subject);
    const legs = arrival === undefined || this.#told.has(arrival.subject) ? [subject] : [subject, arrival.subject];
    for (const leg of legs) this.#told.add(leg);
    this.#openTold.add(legs.at(-1)!);
    const joins: PathJoin[] = legs.length === 1 ? [] : [{ from: 0, to: 1, by: 'tuple', evidence: arrival!.evidence }];
    this.#leaveOpen(legs, joins);
    const decisions = legs.flatMap((leg) =>
      leg.connection === undefined ? [] : [{ netns: leg.record.netns, decision: leg.record.envoy ?? leg.connection.decision }],
    );
    const unfinished = legs.some((leg) =>
      leg.record.roles.some(
        (role) =>
          role === 'unknown' ||
          role === 'client-to-proxy' ||
          role === 'app-to-proxy' ||
          role === 'proxy-to-upstream' ||
          role === 'proxy-to-app',
      ),
    );
    const record: PathRecord = {
      type: 'path',
      id: idOf(`${subject.record.id} single`),
      event: subject.flow.ended ? 'close' : 'update',
      of: 'connection',
      first: subject.record.first,
      last: subject.record.last,
      complete:
        !unfinished ||
        legs.some((leg) => leg.connection?.decision.outcome === 'no-chain' || leg.connection?.decision.outcome === 'no-listener'),
      legs: legs.map(legOf),
      joins,
      ...(decisions.length === 0 ? {} : { decisions }),
    };
    return { record, hops: [], legs };
  }

  /** An application that passes x-request-id on links its inbound request with its own calls. */
  #tellParents(records: readonly PathRecord[], paths: ReadonlyMap<Hop, string>): void {
    const inbound = new Map<string, Hop | 'several'>();
    for (const hop of this.#hops) {
      const id = hop.exchange?.request?.requestId;
      if (hop.direction !== 'inbound' || hop.readOn !== 'up' || id === undefined) continue;
      const key = `${hop.up!.world.node}\n${hop.up!.record.netns}\n${id}`;
      inbound.set(key, inbound.has(key) ? 'several' : hop);
    }
    const byId = new Map(records.map((record) => [record.id, record]));
    for (const hop of this.#hops) {
      const id = hop.exchange?.request?.requestId;
      if (hop.direction !== 'outbound' || hop.readOn !== 'down' || id === undefined) continue;
      const parent = inbound.get(`${hop.down!.world.node}\n${hop.down!.record.netns}\n${id}`);
      const record = byId.get(paths.get(hop) ?? '');
      const parentId = parent === undefined || parent === 'several' ? undefined : paths.get(parent);
      if (record !== undefined && parentId !== undefined && parentId !== record.id) record.parent = parentId;
    }
  }
}

function legOf(subject: Subject): PathLeg {
  return { flow: subject.record.id, roles: subject.record.roles, node: subject.record.node, netns: subject.record.netns };
}

/** The legs of a request, with the places where it lies on their connections. */
function placedLegs(chain: readonly Hop[], legs: readonly Subject[]): PathLeg[] {
  const places = new Map<Subject, number>();
  for (const { down, up, exchange, readOn, place } of chain) {
    const read = readOn === 'down' ? down : up;
    const other = readOn === 'down' ? up : down;
    const there = place?.shared === false ? place.seq : undefined;
    if (read !== undefined && exchange?.requestSeq !== undefined && !places.has(read)) places.set(read, exchange.requestSeq);
    if (other !== undefined && there !== undefined && !places.has(other)) places.set(other, there);
  }
  return legs.map((subject, i) => {
    // Two views of one connection: the bytes are the same.
    const seq =
      places.get(subject) ?? (i === 0 && legs[1] !== undefined && sameConnection(subject, legs[1]) ? places.get(legs[1]) : undefined);
    return seq === undefined ? legOf(subject) : { ...legOf(subject), seq: seq >>> 0 };
  });
}

function sameConnection(a: Subject, b: Subject): boolean {
  const isn = a.flow.tcp?.isnToDestination;
  return a.world !== b.world && isn !== undefined && isn === b.flow.tcp?.isnToDestination;
}

/** Were there requests on this connection that take no part any more? */
function hasSettled(subject: Subject | undefined): boolean {
  const timeline = subject?.tracker?.timeline;
  return (
    (timeline !== undefined && (timeline.settled.sent.size > 0 || timeline.settled.came.size > 0 || timeline.forgotten.turns > 0)) ||
    subject?.tracker?.exchanges.some(({ settled, sentSettled }) => settled || sentSettled) === true
  );
}

function openJoin(leg: number, hop: Hop): PathJoin {
  const { join } = hop;
  return {
    from: leg,
    to: leg,
    by: join!.by,
    evidence: join!.evidence,
    ...(join!.candidates === undefined ? {} : { candidates: join!.candidates.map((candidate) => candidate.record.id) }),
    ...(join!.reason === undefined ? {} : { reason: join!.reason }),
  };
}

/** From the first byte of the request (or packet of the connection) to the last of the response, on the leg where it was read first. */
function spanOf(chain: readonly Hop[], legs: readonly Subject[]): { first: string; last: string } {
  const head = chain[0]!;
  const { exchange } = head;
  if (head.of === 'connection' || exchange?.requestStartNs === undefined)
    return { first: legs[0]!.record.first, last: legs[0]!.record.last };
  const reader = (head.readOn === 'up' ? head.up : head.down)!;
  const started =
    head.readOn === 'up' && head.place !== undefined && !head.place.shared
      ? Math.min(head.place.firstClientNs, exchange.requestStartNs)
      : exchange.requestStartNs;
  const ended = exchange.responseEndNs ?? exchange.responseStartNs ?? exchange.requestEndNs ?? exchange.requestStartNs;
  return { first: formatTime(reader.base, started), last: formatTime(reader.base, Math.max(ended, started)) };
}

function requestOf(chain: readonly Hop[], redaction: Redaction): RequestRecord {
  const read = chain.find((hop) => hop.readOn === 'down') ?? chain[0]!;
  const request = read.exchange?.request;
  const path = read.readOn === 'up' && read.exchange !== undefined ? originalPath(read.exchange) : request?.path;
  const status = chain.find((hop) => hop.exchange?.response?.status !== undefined)?.exchange?.response?.status;
  const id = chain.map((hop) => hop.exchange?.request?.requestId).find((value) => value !== undefined);
  return {
    ...(request?.method === undefined ? {} : { method: request.method }),
    ...(request?.authority === undefined ? {} : { authority: redaction.authority(request.authority) }),
    ...(path === undefined ? {} : { path: redaction.path(path) }),
    ...(status === undefined ? {} : { status }),
    ...(id === undefined ? {} : { id }),
  };
}

function latencyOf(chain: readonly Hop[], legs: readonly Subject[]): NonNullable<PathRecord['latency']> {
  const latency: NonNullable<PathRecord['latency']> = [];
  for (const hop of chain) {
    const { exchange, place } = hop;
    if (hop.of !== 'request' || exchange === undefined) continue;
    const reader = hop.readOn === 'up' ? hop.up : hop.down;
    const other = hop.readOn === 'up' ? hop.down : hop.up;
    if (
      reader !== undefined &&
      exchange.requestStartNs !== undefined &&
      exchange.responseEndNs !== undefined &&
      exchange.response !== undefined
    )
      latency.push({
        leg: legs.indexOf(reader),
        ms: roundMs((exchange.responseEndNs - exchange.requestStartNs) / 1e6),
        evidence: 'observed',
      });
    if (
      other !== undefined &&
      place !== undefined &&
      !place.shared &&
      !place.loose &&
      place.exchange === undefined &&
      place.lastServerNs !== undefined
    )
      latency.push({ leg: legs.indexOf(other), ms: roundMs((place.lastServerNs - place.firstClientNs) / 1e6), evidence: 'derived' });
  }
  const seen = new Set<number>();
  return latency.filter(({ leg, ms }) => leg !== -1 && ms >= 0 && !seen.has(leg) && seen.add(leg)).sort((a, b) => a.leg - b.leg);
}

function isOver(chain: readonly Hop[], legs: readonly Subject[]): boolean {
  const head = chain[0]!;
  return head.of === 'request' ? head.exchange?.done === true || head.exchange?.responseDone === true : legs[0]!.flow.ended;
}

const ENDS: ReadonlySet<Decision['outcome']> = new Set([
  'direct-response',
  'redirect',
  'no-route',
  'no-cluster',
  'no-endpoint',
  'no-chain',
  'no-listener',
  'denied',
  'fault',
  'black-hole',
]);

/** Nothing is missing between the opener and the one who answered, as far as was recorded. */
function isComplete(chain: readonly Hop[], legs: readonly Subject[], joins: readonly PathJoin[]): boolean {
  if (joins.some((join) => join.evidence === 'ambiguous' || join.evidence === 'unavailable')) return false;
  const last = chain.at(-1)!;
  if (chain.some((hop) => hop.down === undefined)) return false;
  if (last.up === undefined) return ENDS.has(last.routed?.decision.outcome ?? 'unknown');
  const end = legs.at(-1)!;
  return last.direction === 'inbound' || !end.place.destinationIsOurs;
}

/** Names in each flow the paths that it is a leg of. */
function linkFlows(subjects: readonly Subject[], paths: readonly PathRecord[]): void {
  const byFlow = new Map(subjects.map((subject) => [subject.record.id, subject.record]));
  for (const path of paths)
    for (const { flow } of path.legs) {
      const record = byFlow.get(flow);
      if (record === undefined) continue;
      record.pathCount = (record.pathCount ?? 0) + 1;
      if (record.pathCount <= PATHS_NAMED_MAX) {
        record.paths ??= [];
        record.paths.push(path.id);
      }
    }
  for (const subject of subjects)
    if (subject.record.pathCount !== undefined && subject.record.pathCount <= PATHS_NAMED_MAX) delete subject.record.pathCount;
}
