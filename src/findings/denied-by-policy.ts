/** An AuthorizationPolicy denies the request (403, `RBAC: access denied`) or the connection. */
import { askedText, cameTrue, type Decided, decidedAs, wayText } from './decisions.ts';
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding } from './finding.ts';
import { placeName } from './quote.ts';

const rule = 'denied-by-policy';

export const deniedByPolicy: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const decided of decidedAs(input, 'denied')) {
      const { decision, subject, path } = decided;
      if (!cameTrue(decided, 403)) continue;
      drafts.add(
        subject.world,
        `${subject.translation.destination.port} ${decision.chain ?? ''} ${subject.record.source.ip}`,
        [subject],
        [path],
        () => describe(decided),
      );
    }
    return drafts.records();
  },
};

function describe(decided: Decided): FindingText {
  const { subject } = decided;
  const { source } = subject.record;
  return {
    severity: 'warning',
    title: `A policy of ${placeName(subject.world)} denies what ${source.pod ?? source.ip} asks of port ${subject.translation.destination.port}`,
    proof: [
      askedText(decided),
      wayText(decided),
      `Its access rules (RBAC filter) do not allow it${subject.connection?.facts.peer === undefined || subject.connection.facts.peer === '' ? '' : ` for ${subject.connection.facts.peer}`}.`,
    ],
    fix: 'If it should be allowed, look at the AuthorizationPolicies that select this workload: a DENY that fits, or ALLOW policies none of which fits (principals need mutual TLS).',
  };
}
