/** The application calls a pod by its address: the proxy passes it on unread, in plain text. */
import { specialCluster } from '../istio/cluster-name.ts';
import { nameOf } from '../kube/names.ts';
import { askedText, type Decided, decidedAs, isSure, wayText } from './decisions.ts';
import { Drafts, type FindingText } from './drafts.ts';
import { type Finding, plays } from './finding.ts';
import { placeName } from './quote.ts';

const rule = 'pod-address-dialled';

export const podAddressDialled: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const decided of decidedAs(input, 'forwarded')) {
      const { decision, subject, path } = decided;
      if (!plays(subject, 'app-to-proxy') || specialCluster(decision.cluster ?? '') !== 'passthrough' || !isSure(decision, 'cluster'))
        continue;
      const { ip, port } = subject.translation.destination;
      if (subject.world.names.podByIp(ip) !== undefined)
        drafts.add(subject.world, `${ip} ${port}`, [subject], [path], () => describe(decided));
    }
    return drafts.records();
  },
};

function describe(decided: Decided): FindingText {
  const { subject } = decided;
  const { ip, port } = subject.translation.destination;
  const pod = subject.world.names.podByIp(ip)!;
  const serving = subject.world.names.servicesOfPod(pod, port, 'tcp').map(nameOf);
  return {
    severity: 'info',
    title: `${placeName(subject.world)} calls pod ${nameOf(pod)} by its address: its proxy passes this on unread and in plain text`,
    proof: [
      askedText(decided),
      wayText(decided),
      `${ip} is the address of pod ${nameOf(pod)}${serving.length === 0 ? '' : `, which serves ${serving.join(', ')} on port ${port}`}.`,
    ],
    fix: `Call ${serving.length === 0 ? 'a Service' : `the service ${serving.join(' or ')}`} by its name, if load balancing, retries, mutual TLS and policies are wanted; a server that demands mutual TLS refuses this.`,
  };
}
