/**
 * What the clients' proxies tell of the connections that come in to another one, where they were recorded too: a request that comes in left on the same connection, for something that
 * the client's proxy was asked for meanwhile.
 */
import type { Subject } from '../annotate/subject.ts';
import type { Exchange } from '../flow/http.ts';
import { type Counterparts, sameAsked } from './chain.ts';
import { CLOCK_NS, type Clocks } from './clocks.ts';
import type { Hop } from './hop.ts';
import type { Senders } from './http-hops.ts';
import { isAllRead, type ProxyLegs } from './namespace-hops.ts';
import { speaksHttp2 } from './upstreams.ts';

/** Envoy marks what it mirrors. Source: Envoy docs, route_components.proto, request_mirror_policies. */
const MIRRORED = /-shadow(?::\d+)?$/;

interface Sender {
  readonly hops: readonly Hop[];
  /** Connections that its proxy opened. */
  readonly upstreams: ReadonlySet<Subject>;
  readonly allRead: boolean;
  /** Requests that were told already. */
  readonly settled: readonly Exchange[];
}

/** @param namespaces the legs of each, and the hops out of it */
export function sendersOf(
  namespaces: readonly { readonly legs: ProxyLegs; readonly out: readonly Hop[] }[],
  counterparts: Counterparts,
  clocks: Clocks,
): Senders {
  const senders = new Map<Subject['world'], Sender>();
  for (const { legs, out } of namespaces) {
    const [first] = legs.subjects;
    if (first === undefined) continue;
    const settled = legs.outward.flatMap(({ tracker }) => tracker?.exchanges.filter((exchange) => exchange.settled) ?? []);
    senders.set(first.world, {
      hops: out.filter((hop) => hop.of === 'request'),
      upstreams: new Set(legs.upstreams),
      allRead: isAllRead(legs),
      settled,
    });
  }
  return {
    http2(downstream) {
      const departure = counterparts.departureOf(downstream);
      return departure === undefined ? undefined : speaksHttp2(departure.subject);
    },
    maySend(downstream, exchange) {
      const departed = counterparts.departureOf(downstream)?.subject;
      const sender = departed === undefined ? undefined : senders.get(departed.world);
      if (departed === undefined || sender === undefined || !sender.allRead || !sender.upstreams.has(departed)) return undefined;
      if (sender.hops.some((hop) => mayBe(hop, exchange, departed, downstream, clocks))) return true;
      return sender.settled.some((settled) => sameAsked(settled, exchange)) ? undefined : false;
    },
  };
}

/** Was this what the client's proxy was asked for in `hop`, and sent on over `departed`? A mirrored request goes elsewhere than the one that it mirrors. */
function mayBe(hop: Hop, exchange: Exchange, departed: Subject, downstream: Subject, clocks: Clocks): boolean {
  const mirrored = MIRRORED.test(exchange.request?.authority ?? '');
  if (!mirrored && hop.tried?.includes(departed) !== true) return false;
  if (!sameAsked(hop.exchange, exchange)) return false;
  const asked = hop.exchange?.requestStartNs;
  const answered = hop.exchange?.responseEndNs;
  const came = exchange.requestStartNs;
  if (asked === undefined || came === undefined) return true;
  const { low, high } = clocks.difference(downstream, departed, came);
  if (came + high + CLOCK_NS < asked) return false;
  return mirrored || answered === undefined || came + low <= answered + CLOCK_NS;
}
