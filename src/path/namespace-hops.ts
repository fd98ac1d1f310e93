/** All hops of the proxy of one namespace: requests first, which say which connections carry requests; then connections carried as bytes; then attempts that failed. */
import { epochMs } from '../annotate/envoy.ts';
import type { Subject } from '../annotate/subject.ts';
import { findField } from '../decode/header-field.ts';
import { terminalFilter } from '../envoy/connection.ts';
import { decideUnread } from '../envoy/request.ts';
import type { Leg } from '../record/record.ts';
import { joinByAccessLog } from './access-log.ts';
import type { Hop } from './hop.ts';
import { joinInbound, joinOutbound, type Senders, unplacedInbound } from './http-hops.ts';
import { joinOpened } from './openers.ts';
import { isCarriedAsBytes, joinConnections, mayCarry } from './tcp-hops.ts';
import { mayGoOnTo } from './to-application.ts';

const plays = (subject: Subject, ...roles: Leg[]) => subject.record.roles.some((role) => roles.includes(role));
const isTcp = (subject: Subject) => subject.flow.protocol === 'tcp';
const hasRequests = (subject: Subject) => subject.tracker?.protocol === 'http1' || subject.tracker?.protocol === 'http2';

/** Was it sent to the port for what comes in, by a rule? Without a configuration this tells a sidecar from a gateway. */
function isCaptured({ record: { rule }, ports }: Subject): boolean {
  return rule?.port !== undefined && ports.inbound.has(rule.port);
}

/**
 * Connections that were told already while they are watched: they take no part in what is joined, but what they may have used is not taken for free.
 */
export interface Standing {
  /** Carried as bytes, and told. */
  down(subject: Subject): boolean;
  /** Surely found to carry one of these. */
  up(subject: Subject): boolean;
  /** May it carry a request that was told and takes no part any more? */
  unsure(subject: Subject): boolean;
  /** Did a request go on here, or may one, or a connection, have, that was told and takes no part any more? */
  carried(subject: Subject): boolean;
}

export const NOTHING_STANDS: Standing = { down: () => false, up: () => false, unsure: () => false, carried: () => false };

/** The connections of one namespace, by what its proxy has to do with them. */
export interface ProxyLegs {
  readonly subjects: readonly Subject[];
  /** What the application opened, and what a gateway's clients did. */
  readonly outward: readonly Subject[];
  readonly upstreams: readonly Subject[];
  /** What came in for the application, and what went on to it. */
  readonly inward: readonly Subject[];
  readonly apps: readonly Subject[];
}

/**
 * A transparent proxy sends on what the pod asked of itself with the pod's own address, and only a mark that packets do not show tells it from the application's own connection; but who passes
 * on a client's certificate is the proxy.
 */
function isForOwnApplication(s: Subject): boolean {
  return (
    plays(s, 'unknown') &&
    s.place.onLoopback &&
    s.place.sourceIsOurs &&
    s.place.destinationIsOurs &&
    s.ports.captures &&
    hasOnlyForwarded(s)
  );
}

/** Does every request on it tell of a client that showed a certificate? Only an HTTP connection manager writes that. Source: Envoy forward_client_cert_details. */
function hasOnlyForwarded({ tracker }: Subject): boolean {
  const requests = tracker?.exchanges.flatMap(({ request }) => (request === undefined ? [] : [request])) ?? [];
  return requests.length > 0 && requests.every(({ headers }) => findField(headers, 'x-forwarded-client-cert') !== undefined);
}

export function legsOf(subjects: readonly Subject[]): ProxyLegs {
  const tcp = subjects.filter(isTcp);
  const toProxy = tcp.filter((s) => plays(s, 'app-to-proxy'));
  const clients = tcp.filter((s) => plays(s, 'client-to-proxy'));
  const upstreams = tcp.filter(
    (s) => plays(s, 'proxy-to-upstream', 'unknown', 'hbone') && s.place.hook === 'OUTPUT' && !isForOwnApplication(s),
  );
  const apps = tcp.filter(
    (s) =>
      plays(s, 'proxy-to-app') ||
      (plays(s, 'loopback') && s.ports.hasProxy && !s.ports.listening.has(s.translation.destination.port)) ||
      isForOwnApplication(s),
  );
  // A gateway sends what its clients ask for on to the outside; so does a sidecar that is asked for something else than its application.
  const gateway = clients.filter(
    (s) => (s.connection === undefined ? !isCaptured(s) : s.connection.direction !== 'INBOUND') && s.place.hook !== 'OUTPUT',
  );
  return { subjects, outward: [...toProxy, ...gateway], upstreams, inward: clients.filter((s) => !gateway.includes(s)), apps };
}

/** Hops towards other namespaces. */
export function hopsOut({ outward, upstreams }: ProxyLegs, standing: Standing = NOTHING_STANDS): Hop[] {
  return outboundHops(
    outward,
    upstreams.filter((s) => !standing.up(s)),
    standing,
  );
}

/** All hops, those out of the namespace being known. */
export function namespaceHops(legs: ProxyLegs, out: readonly Hop[], senders: Senders, standing: Standing = NOTHING_STANDS): Hop[] {
  const apps = legs.apps.filter((s) => !standing.up(s));
  return joinByAccessLog([...out, ...inboundHops(legs.inward, apps, senders, standing)], legs.subjects);
}

/** Could all that the proxy was asked to send out be read? */
export function isAllRead({ outward }: ProxyLegs): boolean {
  return outward.every(({ flow, tracker, connection }) => {
    if (!flow.payloadToDestination) return true;
    if (tracker === undefined || connection?.network === 'tcp') return connection?.network === 'tcp';
    return (
      (tracker.protocol === 'http1' || tracker.protocol === 'http2') &&
      tracker.missingBytes === 0 &&
      tracker.exchanges.every((exchange) => exchange.request?.path !== undefined && exchange.requestStartNs !== undefined)
    );
  });
}

function outboundHops(downstreams: readonly Subject[], upstreams: readonly Subject[], standing: Standing): Hop[] {
  const readable = downstreams.filter((s) => hasRequests(s) && s.connection?.network !== 'tcp');
  const carried = downstreams.filter(isCarriedAsBytes);
  const seen = new Set([...readable, ...carried]);
  const unread = downstreams.some((s) => (!seen.has(s) && s.flow.payloadToDestination) || hasStandingRequest(s));
  const requests = joinOutbound(
    readable,
    upstreams,
    (up) => unread || standing.unsure(up) || carried.some((down) => mayCarry(down, up, undefined)),
  );
  const rest = without(upstreams, used(requests));
  const bytes = joinConnections(
    'outbound',
    carried.filter((s) => !standing.down(s)),
    rest,
    () => true,
  );
  return joinOpened(
    [...requests, ...bytes],
    downstreams.some(hasWaitingRequest) ? [] : without(rest, used(bytes)).filter((up) => !standing.carried(up)),
    carried.filter((s) => standing.down(s)),
    () => true,
  );
}

function inboundHops(downstreams: readonly Subject[], upstreams: readonly Subject[], senders: Senders, standing: Standing): Hop[] {
  const carried = new Set(downstreams.filter((down) => isCarriedAsBytes(down) && !onlyRequests(down, upstreams)));
  const asRequests = downstreams.filter((s) => !carried.has(s) || (!hasRequests(s) && s.connection?.network !== 'tcp'));
  const read = joinInbound(upstreams.filter(hasRequests), asRequests, senders);
  const rest = without(upstreams, used(read));
  const bytes = joinConnections(
    'inbound',
    [...carried].filter((down) => !read.some((hop) => hop.down === down) && !standing.down(down)),
    rest,
    mayGoOnTo,
  );
  // Requests on a connection that was carried as bytes are none of the proxy's.
  const asBytes = used(bytes);
  const managed = read.filter((hop) => hop.down !== undefined || !asBytes.has(hop.up));
  const requests = [...managed, ...unplacedInbound(managed, asRequests.filter(hasRequests))];
  const served = new Set(requests.map((hop) => hop.down));
  // Requests that came in encrypted and of which none was surely found to go on: all that is known is the connection.
  const unread = asRequests
    .filter((down) => !carried.has(down) && !served.has(down) && !hasRequests(down))
    .map((down): Hop => {
      const managed =
        down.connection?.ways.length !== 0 && down.connection?.ways.every((way) => terminalFilter(way.chain)?.kind === 'http') === true;
      const routed =
        down.connection !== undefined && (managed || onlyRequests(down, upstreams))
          ? decideUnread(down.connection, epochMs(down.base, down.flow.firstNs))
          : undefined;
      return { of: 'connection', direction: 'inbound', down, ...(routed === undefined ? {} : { routed }) };
    });
  return joinOpened(
    [...requests, ...bytes, ...unread],
    without(rest, used(bytes)).filter((up) => !hasRequests(up) && !standing.carried(up)),
    [...carried].filter((s) => standing.down(s)),
    mayGoOnTo,
  );
}

/**
 * Can only requests have come over this encrypted connection? So it is when all that went on to the application for its port meanwhile were requests, and each tells of a client
 * that showed a certificate.
 */
function onlyRequests(down: Subject, upstreams: readonly Subject[]): boolean {
  if (down.tracker?.protocol !== 'tls' || !down.flow.payloadToSource) return false;
  let found = false;
  for (const up of upstreams) {
    if (up.flow.lastNs < down.flow.firstNs || up.flow.firstNs > down.flow.lastNs || !mayGoOnTo(down, up)) continue;
    if (!hasRequests(up)) return false;
    for (const { request } of up.tracker?.exchanges ?? []) {
      if (request === undefined) continue;
      if (findField(request.headers, 'x-forwarded-client-cert') === undefined) return false;
      found = true;
    }
  }
  return found;
}

/** Upstream connections that were surely found to be used. */
function used(hops: readonly Hop[]): ReadonlySet<Subject | undefined> {
  return new Set(hops.filter(({ join }) => join !== undefined && join.evidence !== 'ambiguous').map((hop) => hop.up));
}

function without(subjects: readonly Subject[], gone: ReadonlySet<Subject | undefined>): Subject[] {
  return subjects.filter((subject) => !gone.has(subject));
}

/** A request that was told before it was answered may want a connection yet. */
export function hasWaitingRequest({ flow, tracker }: Subject): boolean {
  return (
    !flow.ended &&
    tracker?.exchanges.some((exchange) => exchange.settled && !exchange.done && exchange.responseStartNs === undefined) === true
  );
}

/** A request that was told before it ended may still be on its way somewhere. */
function hasStandingRequest({ tracker }: Subject): boolean {
  return tracker?.exchanges.some((exchange) => exchange.settled && !exchange.done && !exchange.responseDone) === true;
}
