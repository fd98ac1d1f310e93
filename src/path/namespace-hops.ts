/** All hops of the proxy of one namespace: requests first, which say which connections carry requests; then connections carried as bytes; then attempts that failed. */
import { epochMs } from '../annotate/envoy.ts';
import type { Subject } from '../annotate/subject.ts';
import { findField } from '../decode/header-field.ts';
import { terminalFilter } from '../envoy/connection.ts';
import { decideUnread } from '../envoy/request.ts';
import type { Leg } from '../record/record.ts';
import { joinByAccessLog } from './access-log.ts';
import type { Hop } from './hop.ts';
import { joinInbound, joinOutbound, samePort, unplacedInbound } from './http-hops.ts';
import { IntervalIndex } from './interval-index.ts';
import { joinOpened } from './openers.ts';
import { isCarriedAsBytes, joinConnections, lifeOf, mayCarry } from './tcp-hops.ts';

const plays = (subject: Subject, ...roles: Leg[]) => subject.record.roles.some((role) => roles.includes(role));
const isTcp = (subject: Subject) => subject.flow.protocol === 'tcp';
const hasRequests = (subject: Subject) => subject.tracker?.protocol === 'http1' || subject.tracker?.protocol === 'http2';

/** @param http2 does the client's proxy speak HTTP/2 on this connection that comes in? `undefined` where its configuration was not recorded */
export function namespaceHops(subjects: readonly Subject[], http2: (downstream: Subject) => boolean | undefined): Hop[] {
  const tcp = subjects.filter(isTcp);
  const toProxy = tcp.filter((s) => plays(s, 'app-to-proxy'));
  const clients = tcp.filter((s) => plays(s, 'client-to-proxy'));
  const towards = tcp.filter((s) => plays(s, 'proxy-to-upstream', 'unknown', 'hbone') && s.place.hook === 'OUTPUT');
  const apps = tcp.filter(
    (s) => plays(s, 'proxy-to-app') || (plays(s, 'loopback') && s.ports.hasProxy && !s.ports.listening.has(s.translation.destination.port)),
  );
  // A gateway sends what its clients ask for on to the outside; so does a sidecar that is asked for something else than its application.
  const gateway = clients.filter((s) => s.connection?.direction !== 'INBOUND' && s.place.hook !== 'OUTPUT');
  const inward = clients.filter((s) => !gateway.includes(s));
  const unknown = tcp.filter((s) => plays(s, 'unknown') && s.flow.payloadToDestination);
  const strangers = unknown.filter((s) => s.place.hook === 'OUTPUT' && s.place.onLoopback);
  const comers = unknown.filter((s) => s.place.hook === 'PREROUTING');
  return joinByAccessLog(
    [...outboundHops([...toProxy, ...gateway], towards, strangers), ...inboundHops(inward, apps, http2, comers)],
    subjects,
  );
}

/** Is everything known that was asked for on this connection, as far as it was captured? */
function isReadWhole({ tracker }: Subject): boolean {
  return tracker !== undefined && tracker.holes.length === 0 && tracker.exchangeCount === tracker.exchanges.length;
}

/** @param strangers connections that may be downstream ones, too */
function outboundHops(downstreams: readonly Subject[], upstreams: readonly Subject[], strangers: readonly Subject[]): Hop[] {
  const readable = downstreams.filter((s) => hasRequests(s) && s.connection?.network !== 'tcp');
  const carried = downstreams.filter(isCarriedAsBytes);
  const known = new Set([...readable.filter(isReadWhole), ...carried]);
  const unread = [...downstreams.filter((s) => !known.has(s) && s.flow.payloadToDestination), ...strangers];
  const lives = new IntervalIndex(carried.map(lifeOf));
  const mayServeOthers = (up: Subject) =>
    unread.length > 0 || lives.overlapping(up.flow.firstNs, up.flow.lastNs).some((i) => mayCarry(carried[i]!, up, undefined));
  const requests = joinOutbound(readable, upstreams, mayServeOthers);
  const rest = without(upstreams, used(requests));
  const bytes = joinConnections('outbound', carried, rest, () => true);
  return joinOpened([...requests, ...bytes], without(rest, used(bytes)), unread, () => true);
}

function inboundHops(
  downstreams: readonly Subject[],
  upstreams: readonly Subject[],
  http2: (downstream: Subject) => boolean | undefined,
  strangers: readonly Subject[],
): Hop[] {
  const requestsOnly = carriesOnlyRequests(downstreams, upstreams);
  const carried = new Set(downstreams.filter((down) => isCarriedAsBytes(down) && !requestsOnly.has(down)));
  const asRequests = downstreams.filter((s) => !carried.has(s) || !hasRequests(s));
  const read = joinInbound(upstreams.filter(hasRequests), asRequests, http2, strangers.length === 0);
  const requests = [...read, ...unplacedInbound(read, asRequests.filter(hasRequests))];
  const rest = without(upstreams, used(requests));
  const served = new Set(requests.map((hop) => hop.down));
  const bytes = joinConnections(
    'inbound',
    [...carried].filter((down) => !served.has(down)),
    rest,
    samePort,
  );
  // Requests that came in encrypted and of which none was surely found to go on: all that is known is the connection.
  const unread = asRequests
    .filter((down) => !carried.has(down) && !served.has(down) && !hasRequests(down))
    .map((down): Hop => {
      const managed =
        down.connection?.ways.length !== 0 && down.connection?.ways.every((way) => terminalFilter(way.chain)?.kind === 'http') === true;
      const routed =
        down.connection !== undefined && (managed || requestsOnly.has(down))
          ? decideUnread(down.connection, epochMs(down.base, down.flow.firstNs))
          : undefined;
      return { of: 'connection', direction: 'inbound', down, ...(routed === undefined ? {} : { routed }) };
    });
  return joinOpened(
    [...requests, ...bytes, ...unread],
    without(rest, used(bytes)).filter((up) => !hasRequests(up)),
    [...asRequests.filter((down) => !(hasRequests(down) && isReadWhole(down))), ...strangers],
    samePort,
  );
}

/**
 * Over which encrypted connections can only requests have come? So it is when all that went on to the application for its port meanwhile were requests, and each tells of a client
 * that showed a certificate: only an HTTP connection manager writes that. Source: Envoy forward_client_cert_details.
 */
function carriesOnlyRequests(downstreams: readonly Subject[], upstreams: readonly Subject[]): ReadonlySet<Subject> {
  const lives = new IntervalIndex(upstreams.map(lifeOf));
  const telling = upstreams.map(tellsOfCertificates);
  return new Set(
    downstreams.filter((down) => {
      if (down.tracker?.protocol !== 'tls' || !down.flow.payloadToSource) return false;
      const meanwhile = lives.overlapping(down.flow.firstNs, down.flow.lastNs).filter((i) => samePort(down, upstreams[i]!));
      return meanwhile.some((i) => telling[i] === true) && meanwhile.every((i) => telling[i] !== false);
    }),
  );
}

/** Does every request on it tell of a client's certificate? `undefined` where no request was read. */
function tellsOfCertificates(up: Subject): boolean | undefined {
  if (!hasRequests(up) || !isReadWhole(up)) return false;
  const requests = (up.tracker?.exchanges ?? []).flatMap(({ request }) => request ?? []);
  if (requests.length === 0) return undefined;
  return requests.every(({ headers }) => findField(headers, 'x-forwarded-client-cert') !== undefined);
}

/** Upstream connections that were surely found to be used. */
function used(hops: readonly Hop[]): ReadonlySet<Subject | undefined> {
  return new Set(hops.filter((hop) => hop.join?.evidence !== 'ambiguous').map((hop) => hop.up));
}

function without(subjects: readonly Subject[], gone: ReadonlySet<Subject | undefined>): Subject[] {
  return subjects.filter((subject) => !gone.has(subject));
}
