/**
 * For whom was an upstream connection opened? Envoy opens one only on demand: when a request or a connection is there that needs it. If exactly one was there, it was that one;
 * this joins attempts that failed, which carry no bytes to tell by.
 *
 * A request may be sent on another connection than the one that was opened for it, when that one is free earlier; so a connection is told to be a request's only when it gave no
 * answer, or when it is the only one on which the request fits, and no other request does.
 * Source: Envoy source/common/conn_pool/conn_pool_base.cc.
 */
import type { Subject } from '../annotate/subject.ts';
import { cameFromUpstream } from './fit.ts';
import type { Hop } from './hop.ts';
import { IntervalIndex } from './interval-index.ts';
import { placesOf } from './place.ts';
import { lifeOf, mayCarry } from './tcp-hops.ts';
import { mayLeadTo } from './upstreams.ts';

const CLOCK_NS = 2_000;

/** When an upstream connection may have been opened for it. */
function demandOf(hop: Hop): { readonly fromNs: number; readonly toNs: number } | undefined {
  const { down, exchange } = hop;
  if (down === undefined) return undefined;
  if (hop.of === 'connection') return lifeOf(down);
  if (exchange?.requestStartNs === undefined) return undefined;
  if (hop.readOn === 'up') return lifeOf(down);
  return { fromNs: exchange.requestStartNs, toNs: exchange.responseStartNs ?? down.flow.lastNs };
}

function mayNeed(hop: Hop, up: Subject): boolean {
  if (hop.of === 'connection') return mayCarry(hop.down!, up, hop.routed);
  return hop.readOn === 'up' || mayLeadTo(hop.routed, up, false);
}

function gaveNoAnswer(up: Subject): boolean {
  return (
    !up.flow.payloadToSource ||
    (up.tracker?.protocol === 'tls' && placesOf(0, up, false).every((place) => place.firstServerNs === undefined))
  );
}

/** Can it be said of this hop that the connection was opened for it, when nobody else was there? `wanted`: how many hops may have used it. */
function isTold(hop: Hop, up: Subject, wanted: number): boolean {
  if (hop.up !== undefined) return false;
  if (hop.of === 'connection') return true;
  const { exchange, routed } = hop;
  return (
    hop.readOn === 'down' &&
    routed !== undefined &&
    routed.alternatives.length > 0 &&
    !cameFromUpstream(exchange!) &&
    (gaveNoAnswer(up) || (wanted === 1 && hop.join?.candidates?.length === 1 && hop.join.candidates[0] === up))
  );
}

/**
 * @param hops of one proxy and direction
 * @param orphans upstream connections that no hop uses
 * @param unread connections that came in, of whose requests not all are among the hops
 * @returns the hops, with those that lacked an upstream joined where it is proven
 */
export function joinOpened(
  hops: readonly Hop[],
  orphans: readonly Subject[],
  unread: readonly Subject[],
  fitsToo: (down: Subject, up: Subject) => boolean,
): Hop[] {
  const result = [...hops];
  const claimed = new Map<number, Subject[]>();
  const demands = new IntervalIndex(hops.map(demandOf));
  const others = new IntervalIndex(unread.map(lifeOf));
  const wanted = new Map<Subject, number>();
  for (const hop of hops) for (const candidate of hop.join?.candidates ?? []) wanted.set(candidate, (wanted.get(candidate) ?? 0) + 1);
  for (const up of orphans) {
    if (up.flow.midstream) continue;
    const at = up.flow.firstNs;
    const there = demands.overlapping(at - CLOCK_NS, at + CLOCK_NS).filter((i) => fitsToo(hops[i]!.down!, up) && mayNeed(hops[i]!, up));
    const [only] = there;
    if (only === undefined || there.length > 1 || !isTold(hops[only]!, up, wanted.get(up) ?? 0)) continue;
    const { down } = hops[only]!;
    if (others.overlapping(at - CLOCK_NS, at + CLOCK_NS).some((i) => unread[i] !== down && fitsToo(unread[i]!, up))) continue;
    const list = claimed.get(only) ?? [];
    list.push(up);
    claimed.set(only, list);
  }
  for (const [i, ups] of claimed) {
    const hop = result[i]!;
    // Several attempts for one request: the last is the one that decided its fate.
    const tries = [...ups].sort((a, b) => a.flow.firstNs - b.flow.firstNs);
    const { join: _, ...rest } = hop;
    result[i] = {
      ...rest,
      up: tries.at(-1)!,
      join: { by: 'order', evidence: 'derived' },
      ...(tries.length > 1 ? { attempts: tries.slice(0, -1) } : {}),
    };
  }
  return result;
}
