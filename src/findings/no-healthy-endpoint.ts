/** The cluster has no endpoint that could take the request: Envoy answers 503 by itself (flag UH). */
import { isUsable } from '../envoy/endpoint.ts';
import { parseClusterName, serviceOfHost } from '../istio/cluster-name.ts';
import { askedText, cameTrue, type Decided, decidedAs, wayText } from './decisions.ts';
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding } from './finding.ts';
import { beganMs, placeName, plural } from './quote.ts';

const rule = 'no-healthy-endpoint';

export const noHealthyEndpoint: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const decided of decidedAs(input, 'no-endpoint')) {
      const { decision, subject, path } = decided;
      if (decision.cluster === undefined || !cameTrue(decided, 503)) continue;
      drafts.add(subject.world, decision.cluster, [subject], [path], () => describe(decided, decision.cluster!));
    }
    return drafts.records();
  },
};

function describe(decided: Decided, cluster: string): FindingText {
  const name = parseClusterName(cluster);
  const service = name === undefined ? undefined : serviceOfHost(name.host);
  return {
    severity: 'error',
    title: `${service === undefined ? `Cluster "${cluster}"` : `Service ${service}`} has no endpoint that could take the requests of ${placeName(decided.subject.world)}`,
    proof: [askedText(decided), wayText(decided), endpointsText(decided, cluster)],
    fix: "Check that the Service's selector fits the labels of pods, that these pods are ready, and that the subset's labels (if it is one) fit; outlier detection or health checks may have taken all endpoints out.",
  };
}

function endpointsText({ subject }: Decided, cluster: string): string {
  const history = subject.world.envoy;
  const resource = history?.clusterAt(cluster, beganMs(subject)).options[0]?.resource;
  const endpoints = history === undefined || resource === undefined ? undefined : history.endpointsAt(resource.value, beganMs(subject));
  if (endpoints === undefined || endpoints.length === 0) return `Envoy has no endpoint in this cluster.`;
  const usable = endpoints.filter(({ health }) => isUsable(health));
  return `Envoy has ${plural(endpoints.length, 'endpoint')} in this cluster, of which ${usable.length} ${usable.length === 1 ? 'is' : 'are'} healthy: ${endpoints
    .slice(0, 4)
    .map(({ target, health }) => `${target} ${health}`)
    .join(', ')}.`;
}
