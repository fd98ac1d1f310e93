/** The proxy passes a connection on unread, although its address is a service's: no load balancing, no mutual TLS, no policy of that service. */
import { specialCluster } from '../istio/cluster-name.ts';
import { nameOf } from '../kube/names.ts';
import { askedText, type Decided, decidedAs, isSure, wayText } from './decisions.ts';
import { Drafts, type FindingText } from './drafts.ts';
import { type Finding, plays } from './finding.ts';
import { listText, placeName } from './quote.ts';

const rule = 'passthrough-of-known-service';

export const passthroughOfKnownService: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const decided of decidedAs(input, 'forwarded')) {
      const { decision, subject, path } = decided;
      if (!plays(subject, 'app-to-proxy') || specialCluster(decision.cluster ?? '') !== 'passthrough' || !isSure(decision, 'cluster'))
        continue;
      const { ip, port } = subject.translation.destination;
      if (subject.world.names.serviceByIp(ip, port, 'tcp') !== undefined)
        drafts.add(subject.world, `${ip} ${port}`, [subject], [path], () => describe(decided));
    }
    return drafts.records();
  },
};

function describe(decided: Decided): FindingText {
  const { subject, path } = decided;
  const { ip, port } = subject.translation.destination;
  const service = subject.world.names.serviceByIp(ip, port, 'tcp')!;
  const declared = service.ports.filter(({ protocol }) => protocol === 'TCP');
  const ports = listText(declared.map((each) => (each.name === undefined ? String(each.port) : `${each.port} (${each.name})`)));
  const own = declared.find((each) => each.port === port);
  const host = path.request?.authority;
  return {
    severity: 'warning',
    title: `The proxy of ${placeName(subject.world)} passes connections to port ${port} of service ${nameOf(service)} on unread, as to a stranger`,
    proof: [
      askedText(decided),
      wayText(decided),
      `${ip} is the address of service ${nameOf(service)}, which declares ${ports === '' ? 'no TCP port' : `the TCP ports ${ports}`}.`,
    ],
    fix:
      own === undefined
        ? `Declare port ${port} in the Service, or call one of its ports.`
        : host === undefined
          ? 'Look why the proxy has no listener for it: the service may be hidden from this namespace (Sidecar egress, exportTo), or the connection came before the configuration.'
          : `Look whether the Host header "${host}" is a name of this service: the proxy chooses by it; and whether the service is hidden from this namespace (Sidecar egress, exportTo).`,
  };
}
