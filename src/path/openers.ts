/**
 * For whom was an upstream connection opened? Envoy opens one only on demand: when a request or a connection is there that needs it. If exactly one was there, it was that one;
 * this joins attempts that failed, which carry no bytes to tell by.
 */
import type { Subject } from '../annotate/subject.ts';
import type { Hop } from './hop.ts';
import { lastsUntilNs, mayCarry } from './tcp-hops.ts';
import { mayLeadTo } from './upstreams.ts';

const CLOCK_NS = 2_000;

function wasThere(hop: Hop, up: Subject): boolean {
  const at = up.flow.firstNs;
  if (hop.of === 'request') {
    const { exchange, place } = hop;
    if (exchange?.requestStartNs === undefined) return false;
    // Read on its way on: it was there from when it came in, as far as that is known, until it was sent.
    if (hop.readOn !== 'down')
      return (
        (place?.firstClientNs ?? hop.down?.flow.firstNs ?? Number.NEGATIVE_INFINITY) <= at + CLOCK_NS &&
        at <= exchange.requestStartNs + CLOCK_NS
      );
    // What is not answered still waits, as long as its connection lasts.
    const until = exchange.responseStartNs ?? (hop.down === undefined ? exchange.requestStartNs : lastsUntilNs(hop.down));
    return exchange.requestStartNs <= at + CLOCK_NS && at <= until + CLOCK_NS && mayLeadTo(hop.routed, up, false);
  }
  return hop.down !== undefined && mayCarry(hop.down, up, hop.routed);
}

/**
 * May it have carried the request of another hop? What waits takes the first connection that is free, whichever it was that asked for one.
 * Source: Envoy source/common/conn_pool/conn_pool_base.cc, onUpstreamReady().
 */
function mayHaveServedAnother(up: Subject, hop: Hop, hops: readonly Hop[]): boolean {
  const tls = up.tracker?.tls;
  if (!up.flow.payloadToDestination || (tls !== undefined && tls.firstApplicationDataNs[0] === undefined)) return false;
  return hops.some((other) => {
    const start = other.exchange?.requestStartNs;
    if (other === hop || other.of !== 'request' || other.readOn !== 'down' || start === undefined) return false;
    const answered = other.exchange?.responseStartNs ?? Number.POSITIVE_INFINITY;
    return start <= up.flow.lastNs + CLOCK_NS && up.flow.firstNs <= answered + CLOCK_NS && mayLeadTo(other.routed, up, false);
  });
}

/**
 * @param hops of one proxy and direction
 * @param orphans upstream connections that no hop uses, whose opening was seen
 * @param standing connections carried as bytes that were told and have no hop any more
 * @returns the hops, with those that lacked an upstream joined where it is proven
 */
export function joinOpened(
  hops: readonly Hop[],
  orphans: readonly Subject[],
  standing: readonly Subject[],
  fitsToo: (down: Subject, up: Subject) => boolean,
): Hop[] {
  const result = [...hops];
  const claimed = new Map<number, Subject[]>();
  for (const up of orphans) {
    if (up.flow.midstream || standing.some((down) => mayCarry(down, up, undefined) && fitsToo(down, up))) continue;
    const isThere = (hop: Hop) => wasThere(hop, up) && (hop.down === undefined || fitsToo(hop.down, up));
    const i = result.findIndex(isThere);
    if (i === -1 || result.findLastIndex(isThere) !== i) continue;
    const hop = result[i]!;
    if (hop.up !== undefined || (hop.of === 'request' && mayHaveServedAnother(up, hop, result))) continue;
    const list = claimed.get(i) ?? [];
    list.push(up);
    claimed.set(i, list);
  }
  for (const [i, ups] of claimed) {
    const hop = result[i]!;
    // What is mirrored goes to several at once, and each may have answered.
    if (hop.of === 'request' && ups.filter((up) => hop.join?.candidates?.includes(up)).length > 1) continue;
    // Several attempts for one request: the last is the one that decided its fate.
    const tries = [...ups].sort((a, b) => a.flow.firstNs - b.flow.firstNs);
    // One that answered was no attempt that failed: it served somebody else.
    const attempts = tries.slice(0, -1).filter((attempt) => hop.of === 'request' || !attempt.flow.payloadToSource);
    const { join: _, ...rest } = hop;
    result[i] = {
      ...rest,
      up: tries.at(-1)!,
      join: { by: 'order', evidence: 'derived' },
      ...(attempts.length > 0 ? { attempts } : {}),
    };
  }
  return result;
}
