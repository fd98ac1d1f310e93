/** The rules send DNS questions to the agent, and nobody listens there. */
import { Drafts } from './drafts.ts';
import { type Finding, playing } from './finding.ts';
import { connectionText, placeName, verdictText } from './quote.ts';

const rule = 'dns-agent-not-listening';

export const dnsAgentNotListening: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const subject of playing(input, 'app-to-dns-agent')) {
      const { record } = subject;
      const { port } = record.rule ?? {};
      if (port === undefined || (record.state !== 'refused' && record.state !== 'unreachable')) continue;
      drafts.add(subject.world, String(port), [subject], input.pathsThrough(record.id), () => ({
        severity: 'error',
        title: `DNS questions of ${placeName(subject.world)} are sent to the agent on port ${port}, where nobody listens`,
        proof: [
          `${connectionText(subject)}: answered with ${record.state === 'refused' ? 'RST' : 'ICMP unreachable'}${record.dns === undefined ? '' : ` (question: ${record.dns.kind} ${record.dns.question})`}.`,
          `${verdictText(subject)}.`,
        ],
        fix: 'Look whether pilot-agent runs in the pod and has its DNS proxy switched on (ISTIO_META_DNS_CAPTURE=true for the proxy, not only for the rules).',
      }));
    }
    return drafts.records();
  },
};
