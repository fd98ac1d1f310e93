/** Which upstream connections come into question for a decision: those that go where it may send something, and whose server name does not say otherwise. */
import type { Subject } from '../annotate/subject.ts';
import type { RoutedDecision } from '../envoy/alternative.ts';
import { formatEndpoint } from '../net/address.ts';
import { formatClusterName, parseServerName } from '../istio/cluster-name.ts';

/** The cluster that the client's proxy named in its ClientHello, when it did. */
export function clusterOfHello(subject: Subject): string | undefined {
  const sni = subject.tracker?.tls?.clientHello?.sni;
  const name = sni === undefined ? undefined : parseServerName(sni);
  return name === undefined ? undefined : formatClusterName(name);
}

/**
 * Can this upstream connection be one that the decision leads to? `true` also where nothing is known of where it leads.
 */
export function mayLeadTo(routed: RoutedDecision | undefined, upstream: Subject): boolean {
  if (routed === undefined || routed.alternatives.length === 0) return true;
  const target = formatEndpoint(upstream.translation.destination.ip, upstream.translation.destination.port);
  const named = clusterOfHello(upstream);
  for (const alternative of routed.alternatives) {
    const destinations = [alternative.destination, alternative.otherwise?.destination];
    const clusters = [alternative.cluster, alternative.otherwise?.cluster];
    if (alternative.doubt !== undefined || alternative.unsure !== undefined) return true;
    for (const [i, destination] of destinations.entries()) {
      if (destination === undefined) continue;
      if (named !== undefined && clusters[i] !== undefined && clusters[i]!.startsWith('outbound|') && clusters[i] !== named) continue;
      if (destination.members === undefined || destination.doubtful || destination.members.includes(target)) return true;
    }
  }
  return false;
}
