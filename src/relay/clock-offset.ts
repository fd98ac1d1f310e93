/**
 * How far the clocks of nodes are apart, from what two nodes saw of the same thing. Nothing arrives before it was sent: a packet that left `a` at one time by a's clock and came to `b` at another by b's bounds
 * their difference from above, its answer from below. Every pair of views narrows the interval; its middle is the estimate, half its width the error.
 *
 * A handshake bounds both ways: the SYN left the opener before it arrived, and it arrived before its SYN/ACK came back, which was before the opener's ACK.
 */

/** Stamps of two processors of one kernel may differ by this much. */
const SLACK_NS = 2_000;

/** Clocks drift: an old bound is worth less by this share of its age (100 ppm: two cheap oscillators, or a clock that is being slewed). */
const DRIFT = 1e-4;

/** Bounds are kept this long, and at most so many. */
const AGE_NS = 300e9;
const BOUNDS_MAX = 64;

const NODES_MAX = 4096;

interface Bound {
  readonly low: number;
  readonly high: number;
  readonly atNs: number;
}

export interface ClockOffset {
  /** Clock of the second node less clock of the first. */
  readonly ns: number;
  /** The true offset lies within this of it. */
  readonly errorNs: number;
}

export interface HandshakeView {
  /** The first SYN, by this node's clock. */
  readonly synNs: number;
  /** The ACK that ended the handshake. */
  readonly ackNs: number;
}

export class ClockOffsets {
  /** By both names in order; offsets are of the later name less the earlier. */
  readonly #pairs = new Map<string, Bound[]>();
  readonly #neighbours = new Map<string, Set<string>>();

  /** A handshake that both nodes saw whole. */
  handshake(opener: string, openerView: HandshakeView, acceptor: string, acceptorView: HandshakeView): void {
    const high = Math.min(acceptorView.synNs - openerView.synNs, acceptorView.ackNs - openerView.ackNs);
    this.#bound(opener, acceptor, acceptorView.synNs - openerView.ackNs, high, openerView.ackNs);
  }

  /** What `inner` saw from first to last is a part of what `outer` saw from first to last: of a request that was passed on, and its answer. */
  nested(outer: string, outerFirstNs: number, outerLastNs: number, inner: string, innerFirstNs: number, innerLastNs: number): void {
    this.#bound(outer, inner, innerLastNs - outerLastNs, innerFirstNs - outerFirstNs, outerLastNs);
  }

  #bound(a: string, b: string, low: number, high: number, atNs: number): void {
    if (a === b || !Number.isFinite(low) || !Number.isFinite(high) || low > high + 2 * SLACK_NS) return;
    const bound = { low: low - SLACK_NS, high: high + SLACK_NS, atNs };
    const key = keyOf(a, b);
    let bounds = this.#pairs.get(key);
    if (bounds === undefined) {
      if (this.#neighbours.size >= NODES_MAX) return;
      bounds = [];
      this.#pairs.set(key, bounds);
      neighboursOf(this.#neighbours, a).add(b);
      neighboursOf(this.#neighbours, b).add(a);
    }
    add(bounds, a < b ? bound : { low: -bound.high, high: -bound.low, atNs });
  }

  /**
   * How far b's clock is ahead of a's; `undefined` when nothing that both saw tells. Also by way of third nodes, errors added.
   *
   * @param atNs when: what was seen long before or after tells less; without it, when the last of it was seen
   */
  between(a: string, b: string, atNs?: number): ClockOffset | undefined {
    if (a === b) return { ns: 0, errorNs: 0 };
    const direct = this.#direct(a, b, atNs);
    if (direct !== undefined) return direct;
    const reached = new Map<string, ClockOffset>([[a, { ns: 0, errorNs: 0 }]]);
    for (const [at, offset] of reached)
      for (const next of this.#neighbours.get(at) ?? []) {
        if (reached.has(next)) continue;
        const step = this.#direct(at, next, atNs)!;
        const sum = { ns: offset.ns + step.ns, errorNs: offset.errorNs + step.errorNs };
        if (next === b) return sum;
        reached.set(next, sum);
      }
    return undefined;
  }

  #direct(a: string, b: string, atNs: number | undefined): ClockOffset | undefined {
    const bounds = this.#pairs.get(keyOf(a, b));
    if (bounds === undefined) return undefined;
    const { low, high } = meet(bounds);
    const ns = (low + high) / 2;
    const age = atNs === undefined ? 0 : Math.abs(atNs - bounds.at(-1)!.atNs);
    return { ns: a < b ? ns : -ns, errorNs: (high - low) / 2 + age * DRIFT };
  }
}

/** Keeps the bounds that say something; those that the new one contradicts are of a clock that was set since. */
function add(bounds: Bound[], bound: Bound): void {
  const kept = bounds.filter((old) => {
    const age = Math.abs(bound.atNs - old.atNs);
    const spread = age * DRIFT;
    return age <= AGE_NS && old.low - spread <= bound.high && old.high + spread >= bound.low;
  });
  bounds.length = 0;
  bounds.push(...kept, bound);
  if (bounds.length <= BOUNDS_MAX) return;
  // The widest tells least; the newest stays.
  let widest = 0;
  for (let i = 1; i < bounds.length - 1; i++) if (widthOf(bounds[i]!) > widthOf(bounds[widest]!)) widest = i;
  bounds.splice(widest, 1);
}

function widthOf({ low, high }: Bound): number {
  return high - low;
}

/** The interval that all leave, each spread by its age; where drift was underestimated, what the newest says. */
function meet(bounds: readonly Bound[]): { low: number; high: number } {
  const newest = bounds.at(-1)!;
  let { low, high } = newest;
  for (let i = bounds.length - 2; i >= 0; i--) {
    const bound = bounds[i]!;
    const spread = Math.abs(newest.atNs - bound.atNs) * DRIFT;
    const nextLow = Math.max(low, bound.low - spread);
    const nextHigh = Math.min(high, bound.high + spread);
    if (nextLow > nextHigh) continue;
    low = nextLow;
    high = nextHigh;
  }
  return { low, high };
}

function keyOf(a: string, b: string): string {
  return a < b ? `${a}\n${b}` : `${b}\n${a}`;
}

function neighboursOf(map: Map<string, Set<string>>, node: string): Set<string> {
  let set = map.get(node);
  if (set === undefined) {
    set = new Set();
    map.set(node, set);
  }
  return set;
}
