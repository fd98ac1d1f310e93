/** Everything that a bundle holds of one namespace's kernel state, read now, as texts of the tools' forms (docs/bundle.md). */
import { errorText } from '../../net/error-text.ts';
import { formatConntrack } from '../../netfilter/conntrack-format.ts';
import type { WorldFileKind } from '../../world/build.ts';
import { formatSockets } from '../../world/socket-diag.ts';
import type { EvidenceText } from '../evidence/evidence-file.ts';
import { readConntrackTable } from './conntrack-reader.ts';
import { readInterfaces } from './links-reader.ts';
import { type ReadingScope, stampNow } from './reading.ts';
import { readSocketTable } from './sockets-reader.ts';

type Reading = Pick<EvidenceText, 'family'> & { readonly kind: WorldFileKind; read(): Promise<{ text: string; remark?: string }> };

/** In the order of docs/bundle.md. What cannot be read says why; nothing is thrown. The interfaces of the world are read, too. */
export async function readEvidence(scope: ReadingScope): Promise<EvidenceText[]> {
  const { link, cookie, world, base } = scope;
  const conntrack = readConntrackTable(scope);
  // Its failure is told by the two that wait for it.
  conntrack.catch(() => {});
  const table = async (family: 4 | 6) => {
    const entries = (await conntrack).filter((entry) => entry.family === family);
    return { text: entries.map((entry) => `${formatConntrack(entry)}\n`).join('') };
  };
  const readings: Reading[] = [
    { kind: 'iptables-save', family: 'ipv4', read: () => link.tool(cookie, 'iptables-save') },
    { kind: 'ip6tables-save', family: 'ipv6', read: () => link.tool(cookie, 'ip6tables-save') },
    { kind: 'iptables-legacy-save', family: 'ipv4', read: () => link.tool(cookie, 'iptables-legacy-save') },
    { kind: 'ip6tables-legacy-save', family: 'ipv6', read: () => link.tool(cookie, 'ip6tables-legacy-save') },
    { kind: 'nft', read: () => link.tool(cookie, 'nft-ruleset') },
    { kind: 'ip-rule', family: 'ipv4', read: () => link.tool(cookie, 'ip-rule') },
    { kind: 'ip-rule', family: 'ipv6', read: () => link.tool(cookie, 'ip6-rule') },
    { kind: 'conntrack', family: 'ipv4', read: () => table(4) },
    { kind: 'conntrack', family: 'ipv6', read: () => table(6) },
    { kind: 'sockets', read: async () => ({ text: formatSockets(await readSocketTable(scope)) }) },
  ];
  const interfaces = readInterfaces(scope).then(
    (found) => world.setInterfaces(found),
    () => {},
  );
  const files = await Promise.all(
    readings.map(async ({ read, ...what }): Promise<EvidenceText> => {
      const readAt = stampNow(base);
      try {
        const { text, remark } = await read();
        if (text.trim() !== '') return { ...what, status: 'ok', text, readAt };
        return { ...what, status: 'empty', readAt, ...(remark === undefined || remark === '' ? {} : { reason: remark }) };
      } catch (error) {
        return { ...what, status: 'failed', reason: errorText(error), readAt };
      }
    }),
  );
  await interfaces;
  return files;
}
