/**
 * What the clients' proxies tell of the connections that come in to another one, where they were recorded too: a request that comes in left on the same connection, for something that
 * the client's proxy was asked for meanwhile.
 */
import type { Subject } from '../annotate/subject.ts';
import type { Exchange } from '../flow/http.ts';
import { type Counterparts, sameAsked } from './chain.ts';
import { CLOCK_NS, type Clocks } from './clocks.ts';
import { MIRRORED } from './fit.ts';
import type { Hop } from './hop.ts';
import type { Senders } from './http-hops.ts';
import { isAllRead, type ProxyLegs } from './namespace-hops.ts';
import { speaksHttp2 } from './upstreams.ts';

interface Sender {
  readonly asked: Asked;
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
      asked: new Asked(out),
      upstreams: new Set(legs.upstreams),
      allRead: isAllRead(legs),
      settled,
    });
  }
  return {
    http2(downstream) {
      // What a pod sends itself leaves and comes in as one.
      const sent =
        counterparts.departureOf(downstream)?.subject ?? (downstream.record.roles.includes('proxy-to-upstream') ? downstream : undefined);
      return sent === undefined ? undefined : speaksHttp2(sent);
    },
    maySend(downstream, exchange) {
      const departed = counterparts.departureOf(downstream)?.subject;
      const sender = departed === undefined ? undefined : senders.get(departed.world);
      if (departed === undefined || sender === undefined || !sender.allRead || !sender.upstreams.has(departed)) return undefined;
      const mirrored = MIRRORED.test(exchange.request?.authority ?? '');
      const came = exchange.requestStartNs ?? 0;
      const { low, high } = clocks.difference(downstream, departed, came);
      for (const hop of sender.asked.between(mirrored ? Number.NEGATIVE_INFINITY : came + low - CLOCK_NS, came + high + CLOCK_NS))
        if ((mirrored || hop.tried?.includes(departed)) && sameAsked(hop.exchange, exchange)) return true;
      return sender.settled.some((settled) => sameAsked(settled, exchange)) ? undefined : false;
    },
  };
}

/** What a proxy was asked for, in the order in which it came. */
class Asked {
  readonly #hops: readonly Hop[];
  readonly #fromNs: readonly number[];
  /** When the last of the requests so far was answered. */
  readonly #untilNs: number[] = [];

  constructor(hops: readonly Hop[]) {
    const startOf = (hop: Hop) => hop.exchange?.requestStartNs ?? 0;
    this.#hops = hops.filter((hop) => hop.of === 'request').sort((a, b) => startOf(a) - startOf(b));
    this.#fromNs = this.#hops.map(startOf);
    for (const { exchange } of this.#hops)
      this.#untilNs.push(Math.max(exchange?.responseEndNs ?? Number.POSITIVE_INFINITY, this.#untilNs.at(-1) ?? 0));
  }

  /** Requests under way at some time from one moment to another, the latest first. */
  *between(fromNs: number, toNs: number): Generator<Hop> {
    let low = 0;
    let high = this.#hops.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#fromNs[middle]! <= toNs) low = middle + 1;
      else high = middle;
    }
    for (let i = low - 1; i >= 0 && this.#untilNs[i]! >= fromNs; i--) {
      const hop = this.#hops[i]!;
      if ((hop.exchange?.responseEndNs ?? Number.POSITIVE_INFINITY) >= fromNs) yield hop;
    }
  }
}
