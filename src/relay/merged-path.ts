/** One path record from the parts that several nodes saw: legs, joins, decisions and times put one behind the other. Pure. */
import { CANDIDATES_MAX } from '../path/http-hops.ts';
import type { Evidence, PathJoin, PathLeg, PathRecord, RequestRecord } from '../record/record.ts';

/** A flow seen elsewhere that is the same connection as the first or the last leg. */
export interface OuterLeg {
  readonly leg: PathLeg;
  readonly evidence: Evidence;
}

/** How one part was found to go on in the next: on the same connection; and, where several requests share it, by what was asked and when (`order`). */
export interface Link {
  readonly by: 'tuple' | 'order';
  readonly evidence: Evidence;
}

export interface Composition {
  readonly id: string;
  readonly event: PathRecord['event'];
  /** In the order of travel, at least one. */
  readonly parts: readonly PathRecord[];
  /** One fewer than parts. */
  readonly links: readonly Link[];
  /** The connection on which the first part came in, as its opener's node saw it. */
  readonly before?: OuterLeg;
  /** The connection on which the last part went on, as the other node saw it. */
  readonly after?: OuterLeg;
  /** Flows on which it may have gone on from there. */
  readonly candidates?: readonly string[];
}

export function composePath({ id, event, parts, links, before, after, candidates = [] }: Composition): PathRecord {
  const head = parts[0]!;
  const legs: PathLeg[] = [];
  const joins: PathJoin[] = [];
  const latency: NonNullable<PathRecord['latency']> = [];
  if (before !== undefined) {
    legs.push(sameLeg(before, head.legs[0]!));
    joins.push({ from: 0, to: 1, by: 'tuple', evidence: before.evidence });
  }
  parts.forEach((part, i) => {
    const shift = legs.length;
    if (i > 0) joins.push({ from: shift - 1, to: shift, ...links[i - 1]! });
    legs.push(...part.legs);
    for (const join of part.joins) joins.push({ ...join, from: join.from + shift, to: join.to + shift });
    for (const spent of part.latency ?? []) latency.push({ ...spent, leg: spent.leg + shift });
  });
  if (after !== undefined) {
    legs.push(sameLeg(after, legs.at(-1)!));
    joins.push({ from: legs.length - 2, to: legs.length - 1, by: 'tuple', evidence: after.evidence });
    if (candidates.length > 0)
      joins.push({
        from: legs.length - 1,
        to: legs.length - 1,
        by: 'order',
        evidence: 'ambiguous',
        candidates: candidates.slice(0, CANDIDATES_MAX),
        reason: 'several-upstreams',
      });
  }
  const decisions = parts.flatMap((part) => part.decisions ?? []);
  const request = mergedRequest(parts);
  const endsInProxy = after?.leg.roles.includes('client-to-proxy') === true;
  const parent = parts.find((part) => part.parent !== undefined)?.parent;
  return {
    type: 'path',
    id,
    event,
    of: head.of,
    first: head.first,
    last: head.last,
    complete: parts.every((part) => part.complete) && !endsInProxy,
    ...(parent === undefined ? {} : { parent }),
    legs,
    joins,
    ...(request === undefined ? {} : { request }),
    ...(decisions.length === 0 ? {} : { decisions }),
    ...(latency.length === 0 ? {} : { latency }),
  };
}

/** The same connection seen elsewhere: the request lies on it at the same place. */
function sameLeg({ leg, evidence }: OuterLeg, { seq }: PathLeg): PathLeg {
  return evidence !== 'observed' || seq === undefined ? leg : { ...leg, seq };
}

/** What the first part that read something says of it: nearest to who asked. */
function mergedRequest(parts: readonly PathRecord[]): RequestRecord | undefined {
  let merged: RequestRecord | undefined;
  for (const { request } of parts) if (request !== undefined) merged = { ...request, ...merged };
  if (merged === undefined) return undefined;
  const { method, authority, path, status, id } = merged;
  return {
    ...(method === undefined ? {} : { method }),
    ...(authority === undefined ? {} : { authority }),
    ...(path === undefined ? {} : { path }),
    ...(status === undefined ? {} : { status }),
    ...(id === undefined ? {} : { id }),
  };
}
