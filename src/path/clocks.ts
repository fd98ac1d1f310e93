/**
 * How far the clocks of two nodes are apart, as far as handshakes bound it that both saw: a SYN left its opener before it came in, its SYN/ACK left there before it was back.
 * One node's stamps are of one clock.
 */
import type { Subject } from '../annotate/subject.ts';

/** Stamps of one kernel; two processors may differ by less than this. */
export const CLOCK_NS = 2_000;
/** Nodes' clocks are not further apart than this, where nothing bounds them. */
export const UNBOUND_NS = 30e9;
/** Clocks drift: a bound of another moment is worth less by this share of the time between. */
const DRIFT = 1e-4;
/** So many bounds of two nodes are kept, the narrowest. */
const BOUNDS_MAX = 64;

interface Bound {
  readonly low: number;
  readonly high: number;
  /** On the first node's clock, since the epoch. */
  readonly atNs: number;
}

/** What has to be added to a stamp of one connection's recording to compare it with one of the other's. */
export interface Difference {
  readonly low: number;
  readonly high: number;
}

export class Clocks {
  /** By both nodes, in either order. */
  readonly #bounds = new Map<string, Bound[]>();

  /** @param pairs connections as they left one namespace, and as they came in to another */
  constructor(pairs: Iterable<readonly [left: Subject, arrived: Subject]>) {
    for (const [left, arrived] of pairs) {
      if (left.world.node === arrived.world.node || left.flow.midstream || arrived.flow.midstream) continue;
      const { synAckNs } = left.flow;
      if (synAckNs === undefined || arrived.flow.synAckNs === undefined) continue;
      const ahead = secondsBetween(left, arrived) * 1e9;
      const low = arrived.flow.synAckNs - synAckNs + ahead;
      const high = arrived.flow.firstNs - left.flow.firstNs + ahead;
      if (low > high + CLOCK_NS) continue;
      const atNs = epochNs(left) + left.flow.firstNs;
      this.#add(left.world.node, arrived.world.node, { low, high, atNs });
      this.#add(arrived.world.node, left.world.node, { low: -high, high: -low, atNs });
    }
  }

  #add(from: string, to: string, bound: Bound): void {
    const key = `${from}\n${to}`;
    const list = this.#bounds.get(key);
    if (list === undefined) {
      this.#bounds.set(key, [bound]);
      return;
    }
    list.push(bound);
    if (list.length <= BOUNDS_MAX) return;
    let widest = 0;
    list.forEach(({ low, high }, i) => {
      if (high - low > list[widest]!.high - list[widest]!.low) widest = i;
    });
    list.splice(widest, 1);
  }

  /** What to add to a stamp of `of`, from about then, to get it on the clock and base of `as`: not less than `low`, not more than `high`. */
  difference(of: Subject, as: Subject, atNs: number): Difference {
    const base = secondsBetween(as, of) * 1e9;
    if (of.world.node === as.world.node) return { low: base, high: base };
    let low = -UNBOUND_NS;
    let high = UNBOUND_NS;
    const now = epochNs(of) + atNs;
    for (const bound of this.#bounds.get(`${of.world.node}\n${as.world.node}`) ?? []) {
      const spread = Math.abs(now - bound.atNs) * DRIFT + CLOCK_NS;
      low = Math.max(low, bound.low - spread);
      high = Math.min(high, bound.high + spread);
    }
    // Bounds that contradict each other are of clocks that were set meanwhile.
    return low > high ? { low: base - UNBOUND_NS, high: base + UNBOUND_NS } : { low: base + low, high: base + high };
  }
}

/** Since the epoch: to a microsecond, at most. */
function epochNs({ base }: Subject): number {
  return base.epochSeconds * 1e9;
}

/** From the base of one's stamps to that of the other's. */
function secondsBetween(from: Subject, to: Subject): number {
  return to.base.epochSeconds - from.base.epochSeconds;
}
