/** What may have happened, and was not proven: the candidates of joins, as records name them. */
import type { Subject } from '../annotate/subject.ts';
import type { PathJoin } from '../record/record.ts';
import type { Hop } from './hop.ts';

/** At most this many candidates are named. */
const CANDIDATES_MAX = 256;

const named = (candidates: Iterable<Subject>): string[] => [...candidates].slice(0, CANDIDATES_MAX).map(({ record }) => record.id);

/** The join of a hop of which one side is open, at the leg that is known. */
export function openJoin(leg: number, { join }: Hop): PathJoin {
  return {
    from: leg,
    to: leg,
    by: join!.by,
    evidence: join!.evidence,
    ...(join!.candidates === undefined ? {} : { candidates: named(join!.candidates) }),
    ...(join!.reason === undefined ? {} : { reason: join!.reason }),
  };
}

/** Connections that came in encrypted and of which not every request is known; and those on which their requests went on, or may have. */
export class OpenEnds {
  readonly #mayGoOn = new Map<Subject, Set<Subject>>();

  constructor(hops: readonly Hop[]) {
    const inbound = hops.filter((hop) => hop.direction === 'inbound' && hop.up !== undefined);
    const comingFrom = (hop: Hop) => (hop.down === undefined ? (hop.join?.candidates ?? []) : [hop.down]);
    const open = new Set(inbound.flatMap((hop) => (hop.down === undefined ? comingFrom(hop) : [])));
    for (const hop of inbound)
      for (const down of comingFrom(hop)) if (open.has(down)) this.#mayGoOn.set(down, (this.#mayGoOn.get(down) ?? new Set()).add(hop.up!));
  }

  has(subject: Subject): boolean {
    return this.#mayGoOn.has(subject);
  }

  /** Where a path ends with a leg that came in to a proxy: names the connections on which it may have gone on. */
  leaveOpen(legs: readonly Subject[], joins: PathJoin[]): void {
    const leg = legs.length - 1;
    const ups = this.#mayGoOn.get(legs[leg]!);
    if (ups === undefined || joins.some((join) => join.from === leg && join.candidates !== undefined)) return;
    joins.push({ from: leg, to: leg, by: 'order', evidence: 'ambiguous', candidates: named(ups), reason: 'several-upstreams' });
  }
}
