/** A client without a proxy sends plain text to a server that demands mutual TLS. */
import { type ClearIntoTls, clearIntoTls, serverProof } from './clear-into-tls.ts';
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding } from './finding.ts';
import { placeName } from './quote.ts';

const rule = 'plaintext-into-strict';

export const plaintextIntoStrict: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const found of clearIntoTls(input)) {
      // A client that sends nothing may yet send TLS.
      if (found.by !== 'without-proxy' || !found.spoke) continue;
      const { record, world, translation } = found.subject;
      drafts.add(world, `${translation.destination.port} ${record.source.ip}`, [found.subject], input.pathsThrough(record.id), () =>
        describe(found),
      );
    }
    return drafts.records();
  },
};

function describe(found: ClearIntoTls): FindingText {
  const { subject, sent } = found;
  const { source } = subject.record;
  return {
    severity: 'error',
    title: `${source.pod ?? source.ip} speaks plain text to ${placeName(subject.world)}, which takes mutual TLS only on port ${subject.translation.destination.port}`,
    proof: [
      ...serverProof(found),
      sent === undefined ? 'The sender was not recorded.' : `It left ${placeName(sent.world)}, whose rules send nothing to a proxy.`,
    ],
    fix: `Give the client a sidecar; or, if it must stay outside the mesh, let the server take both: PeerAuthentication with mode PERMISSIVE for port ${subject.translation.destination.port} (portLevelMtls).`,
  };
}
