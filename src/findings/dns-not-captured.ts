/** DNS questions are to go through the agent, and this one went to a resolver directly. */
import { isLoopback } from '../net/address.ts';
import { Drafts } from './drafts.ts';
import { type Finding, playing } from './finding.ts';
import { connectionText, placeName, verdictText } from './quote.ts';

const rule = 'dns-not-captured';
const DNS = 53;

export const dnsNotCaptured: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const subject of playing(input, 'direct')) {
      const { record, ports, place, translation } = subject;
      const { ip, port } = translation.destination;
      if (ports.dns.size === 0 || port !== DNS || place.hook !== 'OUTPUT' || isLoopback(ip) || record.rule?.verdict !== 'ACCEPT') continue;
      if (record.rule.evidence !== 'observed' && record.rule.evidence !== 'derived') continue;
      const question = record.dns === undefined ? '' : `, a question for ${record.dns.kind} ${record.dns.question}`;
      drafts.add(subject.world, `${record.protocol} ${ip}`, [subject], input.pathsThrough(record.id), () => ({
        severity: 'warning',
        title: `DNS questions of ${placeName(subject.world)} to ${ip} go past the agent, although its rules capture DNS`,
        proof: [
          `${connectionText(subject)}${question}: it left as it was.`,
          `Other questions are sent to port ${[...ports.dns].join(', ')}. ${verdictText(subject)}.`,
        ],
        fix: 'The rules of istio-init name the resolvers of /etc/resolv.conf only: let the application use these, or let the CNI plugin write the rules (it captures all DNS).',
      }));
    }
    return drafts.records();
  },
};
