/** A route names a cluster that the proxy does not have: mostly a subset that no DestinationRule defines. Envoy answers 503 (flag NC). */
import { parseClusterName, serviceOfHost } from '../istio/cluster-name.ts';
import { askedText, cameTrue, type Decided, decidedAs, wayText } from './decisions.ts';
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding } from './finding.ts';
import { listText, placeName } from './quote.ts';

const rule = 'undefined-cluster';

export const undefinedCluster: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const decided of decidedAs(input, 'no-cluster')) {
      const { decision, subject, path } = decided;
      if (decision.cluster === undefined || !cameTrue(decided, 503, 404, 500)) continue;
      drafts.add(subject.world, decision.cluster, [subject], [path], () => describe(decided, decision.cluster!));
    }
    return drafts.records();
  },
};

function describe(decided: Decided, cluster: string): FindingText {
  const name = parseClusterName(cluster);
  const where = placeName(decided.subject.world);
  const isSubset = name !== undefined && name.subset !== '';
  const others = [...(decided.subject.world.envoy?.configs.at(-1)?.clusters.keys() ?? [])].filter((other) => {
    const parsed = parseClusterName(other);
    return (
      name !== undefined &&
      parsed !== undefined &&
      parsed.host === name.host &&
      parsed.port === name.port &&
      parsed.direction === name.direction
    );
  });
  return {
    severity: 'error',
    title: isSubset
      ? `A route of ${where} leads to the subset "${name.subset}" of ${serviceOfHost(name.host) ?? name.host}, which is not defined`
      : `A route of ${where} leads to the cluster "${cluster}", which its proxy does not have`,
    proof: [
      askedText(decided),
      wayText(decided),
      others.length === 0
        ? 'Its configuration has no cluster for this host and port.'
        : `Its configuration has for this host and port: ${listText(others)}.`,
    ],
    fix: isSubset
      ? `Define the subset "${name.subset}" in a DestinationRule for ${name.host}, or take it out of the VirtualService.`
      : 'Check the destination of the VirtualService: host and port have to be those of a known service, visible to this namespace (exportTo, Sidecar egress).',
  };
}
