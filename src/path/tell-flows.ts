/** What only paths know, written into the flows: the decision for their first request, the role of a leg that a join revealed, the ids of their paths. */
import type { Subject } from '../annotate/subject.ts';
import type { PathRecord } from '../record/record.ts';
import type { Hop } from './hop.ts';

/** Paths named in one flow record; then only their number. */
const PATHS_NAMED_MAX = 16;

/** The first decision of each downstream connection, and the roles that joins reveal. */
export function tellFlows(hops: readonly Hop[]): void {
  const first = new Map<Subject, Hop>();
  for (const hop of hops) {
    if (hop.down !== undefined && hop.routed !== undefined) {
      const known = first.get(hop.down);
      if (known === undefined || startOf(hop) < startOf(known)) first.set(hop.down, hop);
    }
    if (hop.up === undefined || hop.join === undefined || hop.join.evidence === 'ambiguous') continue;
    const { record } = hop.up;
    if (hop.direction === 'outbound' && record.roles.includes('unknown')) record.roles = ['proxy-to-upstream'];
    else if (hop.direction === 'inbound' && (record.roles.includes('loopback') || record.roles.includes('unknown')))
      record.roles = ['proxy-to-app'];
  }
  for (const [subject, hop] of first) subject.record.envoy = hop.routed!.decision;
}

function startOf(hop: Hop): number {
  return hop.exchange?.requestStartNs ?? hop.down?.flow.firstNs ?? 0;
}

/** Names the paths of each flow. */
export function linkFlows(subjects: readonly Subject[], paths: readonly PathRecord[]): void {
  const byFlow = new Map(subjects.map((subject) => [subject.record.id, subject.record]));
  for (const path of paths)
    for (const { flow } of path.legs) {
      const record = byFlow.get(flow);
      if (record === undefined) continue;
      record.pathCount = (record.pathCount ?? 0) + 1;
      record.paths ??= [];
      if (record.pathCount <= PATHS_NAMED_MAX) record.paths.push(path.id);
    }
  for (const subject of subjects)
    if (subject.record.pathCount !== undefined && subject.record.pathCount <= PATHS_NAMED_MAX) delete subject.record.pathCount;
}
