/**
 * Joins connections that a proxy carries as bytes: each connection that came in with the one that was opened for it.
 *
 * What must hold: the upstream connection became ready after the downstream one was opened (a pool gives it to the one that waits longest, whoever it was opened for, and closes it when nobody does: Envoy source/common/tcp_proxy/upstream.cc, CancelPolicy::CloseExcess), goes where the configuration allows, and every byte that the client got came over it. TLS that is
 * passed through shows the same ClientHello on both sides.
 */
import type { Subject } from '../annotate/subject.ts';
import type { RoutedDecision } from '../envoy/alternative.ts';
import { decideTcp } from '../envoy/tcp.ts';
import type { ConnectionTracker } from '../flow/exchange.ts';
import type { Hop } from './hop.ts';
import { CANDIDATES_MAX } from './http-hops.ts';
import { possiblePlaces } from './matching.ts';
import { mayLeadTo } from './upstreams.ts';

const CLOCK_NS = 2_000;

/** Is this leg carried as bytes, or may it be? Requests that were read say no. */
export function isCarriedAsBytes(subject: Subject): boolean {
  if (subject.flow.protocol !== 'tcp') return false;
  const protocol = subject.tracker?.protocol;
  if (protocol === 'http1' || protocol === 'http2') return subject.connection?.network === 'tcp';
  return subject.connection?.network !== 'http';
}

/** Bytes towards the server and towards the client, at most; `undefined` where encryption or missing segments hide them. */
function bytesOf(tracker: ConnectionTracker | undefined): readonly [number, number] | undefined {
  if (tracker === undefined) return [0, 0];
  if (tracker.protocol === 'http1' || tracker.protocol === 'http2' || tracker.missingBytes > 0 || tracker.midstream) return undefined;
  return tracker.timeline?.total ?? [0, 0];
}

/** When the proxy could first send on it: a TCP handshake later than its first packet, with TLS when that was agreed on. Where that was not seen: its first packet. */
function readyNs({ flow, record, tracker }: Subject): number {
  const opened = flow.firstNs + (record.tcp?.handshakeMs ?? 0) * 1e6;
  if (tracker?.tls === undefined) return opened;
  let ready = opened;
  for (const { handshake, direction, endNs } of tracker.timeline?.bursts ?? []) {
    if (!handshake && direction === 0) break;
    if (handshake && direction === 0) ready = endNs;
  }
  return Math.max(opened, ready);
}

/** One that has not ended may be idle, and last. */
export function lastsUntilNs({ flow }: Subject): number {
  return flow.ended ? flow.lastNs : Number.POSITIVE_INFINITY;
}

/** Where requests can be read on both sides, they are the same: nobody changes what is carried as bytes. */
function sameRequests(down: ConnectionTracker | undefined, up: ConnectionTracker | undefined): boolean {
  const readable = (tracker: ConnectionTracker | undefined) => tracker?.protocol === 'http1' || tracker?.protocol === 'http2';
  if (!readable(down) || !readable(up) || down!.midstream || up!.midstream) return true;
  const went = up!.exchanges;
  return (
    down!.protocol === up!.protocol &&
    down!.exchanges.every(({ request }, i) => {
      const other = went[i]?.request;
      return (
        request === undefined ||
        other === undefined ||
        (request.method === other.method && request.path === other.path && request.authority === other.authority)
      );
    })
  );
}

/** Could `up` have been opened for `down`? */
export function mayCarry(down: Subject, up: Subject, routed: RoutedDecision | undefined): boolean {
  if (
    down === up ||
    !mayLeadTo(routed, up, down.tracker?.protocol === 'tls' && down.connection?.tls !== 'mutual' && down.connection?.tls !== 'tls')
  )
    return false;
  if (!down.flow.midstream && !up.flow.midstream && readyNs(up) + CLOCK_NS < down.flow.firstNs) return false;
  if (up.flow.firstNs > lastsUntilNs(down) + CLOCK_NS || down.flow.firstNs > lastsUntilNs(up) + CLOCK_NS) return false;
  if (down.flow.midstream !== up.flow.midstream && up.flow.midstream) return false;
  const hello = down.tracker?.tls?.clientHello;
  const passed = up.tracker?.tls?.clientHello;
  const ends = down.connection?.tls;
  if (ends === 'plaintext' && hello !== undefined && !hello.cut) {
    // The chain does not end TLS: the same bytes go on.
    if (passed !== undefined && !passed.cut && passed.random !== hello.random && passed.sni === hello.sni) return false;
  }
  if (!sameRequests(down.tracker, up.tracker)) return false;
  const came = bytesOf(down.tracker);
  const went = bytesOf(up.tracker);
  if (came === undefined || went === undefined) return true;
  // Encryption adds bytes: what came in encrypted says little of what goes on in the clear.
  if (down.tracker?.tls !== undefined && up.tracker?.tls === undefined) return true;
  if (came[1] > went[1]) return false;
  return up.tracker?.tls !== undefined || went[0] <= came[0];
}

/** Pairs that are compared in one look. Whoever opens more connections at once than that is told as one of many. */
const PAIRS_MAX = 1_000_000;

/** Connections that came in on `downstreams`, carried as bytes over `upstreams` (those that no request was found to use). */
export function joinConnections(
  direction: 'inbound' | 'outbound',
  downstreams: readonly Subject[],
  upstreams: readonly Subject[],
  fitsToo: (down: Subject, up: Subject) => boolean,
): Hop[] {
  if (downstreams.length * upstreams.length > PAIRS_MAX) {
    const join = {
      by: 'order',
      evidence: 'ambiguous',
      candidates: upstreams.slice(0, CANDIDATES_MAX),
      reason: 'several-upstreams',
    } as const;
    return downstreams.map((down) => ({ of: 'connection', direction, down, join }));
  }
  const items = downstreams.map((down) => {
    const routed = down.connection === undefined ? undefined : decideTcp(down.connection);
    const fits: number[] = [];
    upstreams.forEach((up, i) => {
      if (mayCarry(down, up, routed) && fitsToo(down, up)) fits.push(i);
    });
    // A TCP proxy says nothing by itself: what the client got came from an upstream.
    const mustBePlaced = down.flow.payloadToSource && down.connection?.network === 'tcp' && !down.flow.midstream && fits.length > 0;
    return { down, routed, fits, mustBePlaced };
  });
  const possible = possiblePlaces(items, () => false);
  return items.map(({ down, routed, fits, mustBePlaced }, i): Hop => {
    const left = possible[i] ?? fits;
    const base = { of: 'connection' as const, direction, down, ...(routed === undefined ? {} : { routed }) };
    if (left.length === 0) return base;
    if (left.length === 1 && mustBePlaced && possible[i] !== undefined)
      return { ...base, up: upstreams[left[0]!]!, join: { by: 'order', evidence: 'derived' } };
    const candidates = left.slice(0, CANDIDATES_MAX).map((place) => upstreams[place]!);
    return {
      ...base,
      join: { by: 'order', evidence: 'ambiguous', candidates, reason: left.length > 1 ? 'several-upstreams' : 'no-upstream-seen' },
    };
  });
}
