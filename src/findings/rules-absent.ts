/** A sidecar lives in the pod, and no rules send anything to it: the CNI plugin did not run for it (race), or its rules were removed. */
import type { Subject } from '../annotate/subject.ts';
import { listenerHead } from '../envoy/listener-index.ts';
import type { World } from '../world/world.ts';
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding, FindingNamespace } from './finding.ts';
import { connectionText, placeName, plural } from './quote.ts';

const rule = 'rules-absent';

export const rulesAbsent: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const namespace of input.namespaces) {
      const { world, captures } = namespace;
      if (captures) continue;
      const listener = captureListener(world);
      if (listener === undefined) continue;
      const passed = [...namespace.playing('direct')].filter((subject) => goesPast(namespace, subject));
      if (passed.length > 0)
        drafts.add(
          world,
          '',
          passed,
          passed.slice(0, 16).flatMap(({ record }) => input.pathsThrough(record.id)),
          () => describe(world, listener, passed),
        );
    }
    return drafts.records();
  },
};

/** A listener that waits for what rules send it: it asks for the original destination. A gateway has none. */
function captureListener(world: World): string | undefined {
  const config = world.envoy?.configs.at(-1);
  return config?.listeners.find((resource) => {
    if (resource.state !== 'active' && resource.state !== 'static') return false;
    const { useOriginalDst, bindToPort } = listenerHead(resource);
    return useOriginalDst && bindToPort;
  })?.name;
}

function goesPast({ world }: FindingNamespace, subject: Subject): boolean {
  const { flow, place, record } = subject;
  if (flow.protocol !== 'tcp' || place.onLoopback || place.sourceIsOurs === place.destinationIsOurs) return false;
  if (world.rulesAt(flow.family, flow.firstNs) === undefined || record.translated !== undefined) return false;
  return flow.state !== 'refused' && flow.state !== 'unanswered';
}

function describe(world: World, listener: string, passed: readonly Subject[]): FindingText {
  const first = passed[0]!;
  const { family, firstNs } = first.flow;
  const sets = world.rulesAt(family, firstNs)?.sets ?? [];
  const rules = sets.reduce(
    (sum, set) => sum + set.tables.reduce((all, table) => all + table.chains.reduce((count, chain) => count + chain.rules.length, 0), 0),
    0,
  );
  const observed = passed.some(({ translation }) => translation.untouched === 'observed');
  const nft = sets.some(({ dialect }) => dialect === 'nft');
  return {
    severity: observed || nft || sets.length === 0 ? 'error' : 'warning',
    title: `${placeName(world)} has a sidecar, but no rules send its connections there: they all pass it by`,
    proof: [
      `Envoy has the listener "${listener}", which waits for redirected connections.`,
      rules === 0
        ? 'The rules were read, and there are none.'
        : `${plural(rules, 'rule was', 'rules were')} read, and none of them sends anything to a proxy.`,
      `${connectionText(first)}: it went past the proxy${observed ? ' (conntrack shows that nothing was translated: observed)' : ''}.`,
      ...(observed || nft || sets.length === 0 ? [] : ['Only iptables was read: native nftables rules would not show there.']),
    ],
    fix: 'Restart the pod, so that the CNI plugin (or istio-init) writes its rules; if it happens again, look at the log of istio-cni on that node and let its repair controller watch (cni.repair).',
  };
}
