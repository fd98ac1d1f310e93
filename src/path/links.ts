/** Which hop follows which: in this namespace when the upstream leg is also the next one's downstream leg (a pod that calls itself), else where it comes in. */
import type { Subject } from '../annotate/subject.ts';
import { type Counterparts, followingHop } from './chain.ts';
import type { Hop } from './hop.ts';

/** A chain that comes back to where it was is cut here. */
const CHAIN_MAX = 8;

export class Links {
  readonly #counterparts: Counterparts;
  readonly #byDown = new Map<Subject, Hop[]>();
  readonly #byUp = new Map<Subject, Hop[]>();
  /** Connections that may carry requests of which it is not known where they went, or whence they came. */
  readonly #open = new Set<Subject>();
  readonly #next = new Map<Hop, Hop>();
  readonly #hasPrevious = new Set<Hop>();

  constructor(hops: readonly Hop[], counterparts: Counterparts) {
    this.#counterparts = counterparts;
    for (const hop of hops) {
      if (hop.down !== undefined) push(this.#byDown, hop.down, hop);
      if (isJoined(hop)) push(this.#byUp, hop.up, hop);
      for (const candidate of hop.join?.candidates ?? []) this.#open.add(candidate);
    }
    for (const hop of hops) this.#link(hop);
  }

  /** The hops of one path, from the first on; `undefined` where another one comes before. */
  chainFrom(hop: Hop): readonly Hop[] | undefined {
    if (this.#hasPrevious.has(hop)) return undefined;
    const chain = [hop];
    for (
      let next = this.#next.get(hop);
      next !== undefined && !chain.includes(next) && chain.length < CHAIN_MAX;
      next = this.#next.get(next)
    )
      chain.push(next);
    return chain;
  }

  #link(hop: Hop): void {
    if (!isJoined(hop)) return;
    const arrived = hop.up.record.roles.includes('client-to-proxy') ? hop.up : this.#counterparts.arrivalOf(hop.up)?.subject;
    if (arrived === undefined) return;
    const crossing = {
      left: this.#byUp.get(hop.up) ?? [],
      arrived: this.#byDown.get(arrived) ?? [],
      allKnown: this.#allKnown(hop.up) && this.#allKnown(arrived),
    };
    const next = followingHop(hop, crossing) ?? (crossing.allKnown ? unreadHop(hop, crossing) : undefined);
    if (next === undefined || next === hop || this.#hasPrevious.has(next) || isOpenUpstream(next)) return;
    this.#next.set(hop, next);
    this.#hasPrevious.add(next);
  }

  /** Is every request on this connection among the hops, as far as packets and joins tell? */
  #allKnown(connection: Subject): boolean {
    const { tracker, flow } = connection;
    if (this.#open.has(connection) || flow.midstream || tracker === undefined) return false;
    return tracker.holes.length === 0 && tracker.exchangeCount === tracker.exchanges.length && (tracker.timeline?.overflow ?? 0) === 0;
  }
}

type Joined = Hop & { readonly up: Subject };

function isJoined(hop: Hop): hop is Joined {
  return hop.up !== undefined && hop.join !== undefined && hop.join.evidence !== 'ambiguous';
}

function isOpenUpstream(hop: Hop): boolean {
  return hop.join?.evidence === 'ambiguous' && hop.up !== undefined;
}

/** Nobody could read what came in there; if this was the only request sent on that connection, what is known of the connection is known of the request. */
function unreadHop(hop: Hop, { left, arrived }: { readonly left: readonly Hop[]; readonly arrived: readonly Hop[] }): Hop | undefined {
  const [only] = arrived;
  if (hop.of !== 'request' || arrived.length !== 1 || only?.of !== 'connection') return undefined;
  return left.length === 1 && hop.place?.isLast === true ? only : undefined;
}

function push(map: Map<Subject, Hop[]>, key: Subject, hop: Hop): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [hop]);
  else list.push(hop);
}
