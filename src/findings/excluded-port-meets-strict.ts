/** Traffic that the rules keep away from the client's proxy arrives in plain text at a server that demands mutual TLS. */
import type { Subject } from '../annotate/subject.ts';
import { type ClearIntoTls, clearIntoTls, serverProof } from './clear-into-tls.ts';
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding } from './finding.ts';
import { connectionText, placeName, verdictText } from './quote.ts';

const rule = 'excluded-port-meets-strict';

export const excludedPortMeetsStrict: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const found of clearIntoTls(input)) {
      const { sent, subject } = found;
      if (found.by !== 'past-its-proxy' || sent === undefined || !found.spoke || sent.record.rule?.verdict !== 'ACCEPT') continue;
      drafts.add(
        sent.world,
        `${placeName(subject.world)} ${subject.translation.destination.port}`,
        [sent, subject],
        input.pathsThrough(subject.record.id),
        () => describe(found, sent),
      );
    }
    return drafts.records();
  },
};

function describe(found: ClearIntoTls, sent: Subject): FindingText {
  const port = found.subject.translation.destination.port;
  return {
    severity: 'error',
    title: `Traffic of ${placeName(sent.world)} passes its proxy by and meets ${placeName(found.subject.world)}, which takes mutual TLS only on port ${port}`,
    proof: [`${connectionText(sent)}: in the clear, past the proxy.`, `${verdictText(sent)}.`, ...serverProof(found)],
    fix: 'Let this traffic go through the proxy (take the port or the range out of excludeOutboundPorts, excludeOutboundIPRanges, or add it to the include lists), or let the server take plain text on this port (PeerAuthentication, portLevelMtls PERMISSIVE).',
  };
}
