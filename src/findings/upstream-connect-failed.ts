/** The proxy could not connect to where it should send a request or a connection (flag UF): refused, no answer, or unreachable. */
import type { Subject } from '../annotate/subject.ts';
import { specialCluster } from '../istio/cluster-name.ts';
import { formatEndpoint } from '../net/address.ts';
import { isSure } from './decisions.ts';
import { Drafts, type FindingText } from './drafts.ts';
import { type Finding, type FindingInput, playing } from './finding.ts';
import { beganMs, connectionText, peerText, placeName, plural } from './quote.ts';

const rule = 'upstream-connect-failed';

export const upstreamConnectFailed: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const subject of playing(input, 'proxy-to-upstream')) {
      const { flow, record, place } = subject;
      if (flow.protocol !== 'tcp' || place.onLoopback) continue;
      if (flow.state !== 'refused' && flow.state !== 'unreachable' && (flow.state !== 'unanswered' || flow.packetsToDestination < 2))
        continue;
      // Where the other side was recorded, it says why.
      if (wasSeenThere(input, subject)) continue;
      const { ip, port } = subject.translation.destination;
      drafts.add(subject.world, `${formatEndpoint(ip, port)} ${flow.state}`, [subject], input.pathsThrough(record.id), () =>
        describe(input, subject),
      );
    }
    return drafts.records();
  },
};

function wasSeenThere(input: FindingInput, subject: Subject): boolean {
  return input.pathsThrough(subject.record.id).some((path) => {
    const at = path.legs.findIndex(({ flow }) => flow === subject.record.id);
    return path.joins.some(({ from, to, by }) => by === 'tuple' && from === at && to === at + 1);
  });
}

function describe(input: FindingInput, subject: Subject): FindingText {
  const { flow, world, record, translation } = subject;
  const cluster = clusterOf(input, subject);
  const original = cluster !== undefined && goesWhereAsked(subject, cluster);
  const target = formatEndpoint(translation.destination.ip, translation.destination.port);
  const what = flow.state === 'refused' ? 'refuses' : flow.state === 'unreachable' ? 'cannot be reached by' : 'does not answer';
  const came =
    flow.state === 'refused'
      ? 'the SYN was answered with RST'
      : flow.state === 'unreachable'
        ? 'ICMP says that it cannot be reached'
        : `${plural(flow.packetsToDestination, 'SYN')} and no answer`;
  return {
    // An address that the application chose itself is nothing that the mesh knows of.
    severity: original ? 'warning' : 'error',
    title: `${peerText(record.destination)} ${what} the proxy of ${placeName(world)}`,
    proof: [
      `${connectionText(subject)}: ${came}.`,
      cluster === undefined
        ? 'For which request it was opened could not be told.'
        : original
          ? `It was opened for cluster "${cluster}", which goes to whatever address the application asked for.`
          : `It was opened for cluster "${cluster}", ${isMember(subject, cluster, target)}.`,
    ],
    fix: original
      ? 'Check the address and port that the application calls, and that nothing between (NetworkPolicy, firewall) drops it.'
      : flow.state === 'refused'
        ? "Check that the endpoint listens on this port (the Service's targetPort), and on its pod address."
        : 'Check that the endpoint is up, that a NetworkPolicy or firewall lets it pass, and that the list of endpoints is not stale (the pod may be gone).',
  };
}

function clusterOf(input: FindingInput, { record }: Subject): string | undefined {
  const names = new Set<string>();
  for (const path of input.pathsThrough(record.id))
    for (const { netns, decision } of path.decisions ?? [])
      if (netns === record.netns && decision.cluster !== undefined && isSure(decision, 'cluster')) names.add(decision.cluster);
  return names.size === 1 ? [...names][0] : undefined;
}

function goesWhereAsked(subject: Subject, name: string): boolean {
  if (specialCluster(name) === 'passthrough') return true;
  const options = subject.world.envoy?.clusterAt(name, beganMs(subject)).options ?? [];
  return options.length > 0 && options.every(({ resource }) => resource?.value.type === 'ORIGINAL_DST');
}

function isMember(subject: Subject, name: string, target: string): string {
  const history = subject.world.envoy;
  const resource = history?.clusterAt(name, beganMs(subject)).options[0]?.resource;
  const endpoints = resource === undefined ? undefined : history?.endpointsAt(resource.value, beganMs(subject));
  if (endpoints === undefined) return 'whose endpoints are not known';
  return endpoints.some((endpoint) => endpoint.target === target)
    ? `whose list of ${plural(endpoints.length, 'endpoint')} has it`
    : `whose list of ${plural(endpoints.length, 'endpoint')} does not have it (any more)`;
}
