/** The rules capture IPv4 only: what the pod opens or gets over IPv6 goes past the proxy. */
import { proxyPorts } from '../netfilter/ports.ts';
import { Drafts } from './drafts.ts';
import type { Finding } from './finding.ts';
import { connectionText, placeName, stepText } from './quote.ts';

const rule = 'ipv6-not-captured';

export const ipv6NotCaptured: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const namespace of input.namespaces)
      for (const subject of namespace.captures ? namespace.playing('direct', 'unknown', 'proxy-to-app') : []) {
        const { world } = namespace;
        const { flow, record, place, translation } = subject;
        if (flow.family !== 6 || flow.protocol !== 'tcp' || place.onLoopback || record.rule?.verdict !== 'ACCEPT') continue;
        if (/^fe[89ab]|^ff/.test(translation.destination.ip)) continue;
        const own = world.rulesAt(6, flow.firstNs);
        const other = world.rulesAt(4, flow.firstNs);
        if (own === undefined || other === undefined) continue;
        const missing = proxyPorts(own.sets);
        const ports = proxyPorts(other.sets);
        const out = place.sourceIsOurs;
        if ((out ? missing.outbound : missing.inbound).length > 0 || (out ? ports.outbound : ports.inbound).length === 0) continue;
        const rules = own.sets.reduce(
          (sum, set) =>
            sum + set.tables.reduce((all, table) => all + table.chains.reduce((count, chain) => count + chain.rules.length, 0), 0),
          0,
        );
        drafts.add(world, out ? 'out' : 'in', [subject], input.pathsThrough(record.id), () => ({
          severity: 'warning',
          title: `${out ? 'What' : 'What comes to'} ${placeName(world)} ${out ? 'opens ' : ''}over IPv6 passes its proxy by`,
          proof: [
            `${connectionText(subject)}: not sent to the proxy.`,
            `The IPv4 rules send ${out ? 'what goes out' : 'what comes in'} to port ${(out ? ports.outbound : ports.inbound).join(', ')}; of ${rules} IPv6 rules none does${record.rule?.steps.length ? ` (last met: ${stepText(record.rule.steps.at(-1)!)})` : ''}.`,
          ],
          fix: 'Let the rules be made for both families (dual stack: ISTIO_DUAL_STACK=true, or a pod that has an IPv6 address when istio-init or the CNI plugin runs), or let the application use IPv4.',
        }));
      }
    return drafts.records();
  },
};
