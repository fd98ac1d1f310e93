/** Two connections from one local port would have become the same after the redirect: the kernel gave one of them another source port. It works; who joins by port goes wrong. */
import { Drafts } from './drafts.ts';
import { type Finding, playing } from './finding.ts';
import { connectionText, placeName, verdictText } from './quote.ts';

const rule = 'source-port-rewritten';

export const sourcePortRewritten: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const subject of playing(input, 'app-to-proxy', 'client-to-proxy', 'app-to-dns-agent')) {
      const { translation, record } = subject;
      const { translated, source } = translation;
      if (
        translated === undefined ||
        record.rule?.verdict !== 'REDIRECT' ||
        translated.source.port === source.port ||
        translated.source.port === 0
      )
        continue;
      drafts.add(subject.world, String(record.rule.port ?? ''), [subject], input.pathsThrough(record.id), () => ({
        severity: 'info',
        title: `The kernel gave a redirected connection of ${placeName(subject.world)} another source port`,
        proof: [
          `${connectionText(subject)}: after the redirect it comes from port ${translated.source.port} instead of ${source.port} (${translated.evidence}).`,
          `${verdictText(subject)}.`,
        ],
        fix: 'Nothing: another connection had the same source port at that moment. If there are thousands of them, the source ports run short: reuse connections, or widen net.ipv4.ip_local_port_range.',
      }));
    }
    return drafts.records();
  },
};
