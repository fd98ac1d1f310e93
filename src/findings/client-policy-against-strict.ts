/** The client's proxy sends plain text, as its configuration says, to a server that demands mutual TLS. */
import type { Subject } from '../annotate/subject.ts';
import { specialCluster } from '../istio/cluster-name.ts';
import { formatEndpoint } from '../net/address.ts';
import { type ClearIntoTls, clearIntoTls, serverProof } from './clear-into-tls.ts';
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding, FindingInput } from './finding.ts';
import { beganMs, connectionText, placeName } from './quote.ts';

const rule = 'client-policy-against-strict';

export const clientPolicyAgainstStrict: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const found of clearIntoTls(input)) {
      if (found.by !== 'proxy' || found.sent === undefined) continue;
      const cluster = clusterOf(input, found.sent);
      const clear = cluster !== undefined && speaksClear(found.sent, cluster);
      if (!found.spoke && !clear) continue;
      const { subject } = found;
      drafts.add(
        found.sent.world,
        `${cluster ?? ''} ${subject.translation.destination.port}`,
        [found.sent, subject],
        input.pathsThrough(subject.record.id),
        () => describe(found, found.sent!, cluster, clear),
      );
    }
    return drafts.records();
  },
};

/** The cluster that the client's proxy chose for this connection. */
function clusterOf(input: FindingInput, sent: Subject): string | undefined {
  const names = new Set<string>();
  for (const path of input.pathsThrough(sent.record.id))
    for (const { netns, decision } of path.decisions ?? []) {
      const grade = decision.evidence.cluster;
      if (netns === sent.record.netns && decision.cluster !== undefined && (grade === 'observed' || grade === 'derived'))
        names.add(decision.cluster);
    }
  return names.size === 1 ? [...names][0] : undefined;
}

/** Does its configuration say that this cluster speaks to this endpoint without TLS? */
function speaksClear(sent: Subject, name: string): boolean {
  const { ip, port } = sent.translation.destination;
  const target = formatEndpoint(ip, port);
  const history = sent.world.envoy;
  const options = history?.clusterAt(name, beganMs(sent)).options ?? [];
  return (
    options.length > 0 &&
    options.every(({ resource, config }) => {
      if (resource === undefined) return false;
      const metadata =
        resource.value.type === 'ORIGINAL_DST'
          ? {}
          : config.endpointsOf(resource.value)?.find((endpoint) => endpoint.target === target)?.transportSocketMatch;
      return metadata !== undefined && resource.value.transportFor(metadata).tls === false;
    })
  );
}

function describe(found: ClearIntoTls, sent: Subject, cluster: string | undefined, clear: boolean): FindingText {
  const passed = cluster !== undefined && specialCluster(cluster) === 'passthrough';
  const port = found.subject.translation.destination.port;
  return {
    severity: 'error',
    title: `The proxy of ${placeName(sent.world)} speaks plain text to ${placeName(found.subject.world)}, which takes mutual TLS only on port ${port}`,
    proof: [
      `${connectionText(sent)}: sent by the proxy, in the clear.`,
      cluster === undefined
        ? 'Which cluster it belongs to could not be told.'
        : `It belongs to cluster "${cluster}"${clear ? ', whose configuration says no TLS for this endpoint' : ''}${passed ? ' (an address that the proxy knows no service for)' : ''}.`,
      ...serverProof(found),
    ],
    fix: passed
      ? 'Call the service by its name and a port that it declares: only then the proxy knows that the other side has a proxy too, and uses mutual TLS.'
      : 'Let both sides agree: take tls.mode DISABLE (or SIMPLE) out of the DestinationRule of this host (ISTIO_MUTUAL, or leave it to auto mTLS), or let the server take plain text (PeerAuthentication, mode PERMISSIVE).',
  };
}
