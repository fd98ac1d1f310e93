/** From the connections of all namespaces to the path records: hops of each proxy, what they prove of each other, and the records made of them. */
import type { Subject } from '../annotate/subject.ts';
import type { PathRecord } from '../record/record.ts';
import type { Redaction } from '../record/redact.ts';
import { Assembly } from './assembly.ts';
import { Counterparts } from './chain.ts';
import { namespaceHops } from './namespace-hops.ts';
import { settleHop } from './settle-hop.ts';
import { linkFlows, tellFlows } from './tell-flows.ts';
import { speaksHttp2 } from './upstreams.ts';

/**
 * A pod that calls itself passes its proxy twice: the whole is one path, and the second pass is one of its own, too, with the whole as its parent.
 *
 * @param namespaces the connections of each network namespace
 *   Their records get what only paths know (tell-flows.ts)
 */
export function findPaths(namespaces: readonly (readonly Subject[])[], redaction: Redaction): PathRecord[] {
  const all = namespaces.flat();
  const counterparts = new Counterparts(all);
  const http2 = (downstream: Subject) => {
    const departure = counterparts.departureOf(downstream);
    return departure === undefined ? undefined : speaksHttp2(departure.subject);
  };
  const hops = namespaces.flatMap((subjects) => namespaceHops(subjects, http2));
  for (const hop of hops) settleHop(hop);
  tellFlows(hops);
  const paths = new Assembly(hops, all, counterparts, redaction).records();
  linkFlows(all, paths);
  return paths;
}
