/** The proxy may call known services only (outboundTrafficPolicy REGISTRY_ONLY), and this one is not known to it: HTTP gets 502 (route block_all), anything else is closed (BlackHoleCluster). */
import { askedText, cameTrue, type Decided, decidedAs, wayText } from './decisions.ts';
import { Drafts, type FindingText } from './drafts.ts';
import { type Finding, type FindingInput, plays } from './finding.ts';
import { peerText, placeName } from './quote.ts';

const rule = 'blocked-by-registry';
/** Source: pilot/pkg/networking/core/httproute.go (BuildSidecarOutboundVirtualHosts: buildCatchAllVirtualHost). */
const BLOCK_ALL = 'block_all';

export const blockedByRegistry: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const decided of blocked(input)) {
      const { subject, path } = decided;
      const { ip, port } = subject.translation.destination;
      drafts.add(subject.world, `${path.request?.authority ?? ip} ${port}`, [subject], [path], () => describe(decided));
    }
    return drafts.records();
  },
};

function* blocked(input: FindingInput): Generator<Decided> {
  for (const decided of decidedAs(input, 'black-hole'))
    if (plays(decided.subject, 'app-to-proxy') && cameTrue(decided, 502, 503)) yield decided;
  for (const decided of decidedAs(input, 'direct-response'))
    if (plays(decided.subject, 'app-to-proxy') && decided.decision.virtualHost === BLOCK_ALL && cameTrue(decided, 502)) yield decided;
}

function describe(decided: Decided): FindingText {
  const { path, subject } = decided;
  const { destination } = subject.record;
  const asked = path.request?.authority ?? peerText(destination);
  return {
    severity: 'error',
    title: `The proxy of ${placeName(subject.world)} may call known services only, and ${asked} is none for it`,
    proof: [
      askedText(decided),
      wayText(decided),
      destination.service === undefined
        ? 'No service was recorded that has this address.'
        : `The address is that of service ${destination.service}, which this proxy was not told of.`,
    ],
    fix:
      destination.service === undefined
        ? 'Declare the host in a ServiceEntry that this namespace sees, or set outboundTrafficPolicy.mode to ALLOW_ANY.'
        : `Let the Sidecar resource of this workload name the service's host under egress.hosts (or the service be exported to it), or set outboundTrafficPolicy.mode to ALLOW_ANY.`,
  };
}
