/** The rules spare a port or an address range: the connection goes past the proxy. As somebody wanted it, mostly; but then the mesh does nothing for it. */
import type { Subject } from '../annotate/subject.ts';
import type { RuleStep } from '../record/record.ts';
import { Drafts, type FindingText } from './drafts.ts';
import { type Finding, playing } from './finding.ts';
import { connectionText, placeName, stepText } from './quote.ts';
import { sparingStep } from './sparing-rule.ts';

const rule = 'excluded-port';

export const excludedPort: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const subject of playing(input, 'direct', 'unknown')) {
      const { record, ports, place, flow } = subject;
      if (!ports.captures || flow.protocol !== 'tcp' || record.rule?.verdict !== 'ACCEPT') continue;
      if (record.rule.evidence !== 'observed' && record.rule.evidence !== 'derived') continue;
      if (place.onLoopback || place.sourceIsOurs === place.destinationIsOurs) continue;
      const step = sparingStep(subject);
      if (step === undefined) continue;
      drafts.add(subject.world, `${stepText(step)} ${subject.translation.destination.port}`, [subject], input.pathsThrough(record.id), () =>
        describe(subject, step),
      );
    }
    return drafts.records();
  },
};

function describe(subject: Subject, step: RuleStep): FindingText {
  const { world, place, translation, record } = subject;
  const out = place.sourceIsOurs;
  const { port } = translation.destination;
  return {
    severity: 'info',
    title: out
      ? `Connections of ${placeName(world)} to port ${port} pass its proxy by, as a rule says`
      : `Connections to port ${port} of ${placeName(world)} pass its proxy by, as a rule says`,
    proof: [
      `${connectionText(subject)}: not sent to the proxy (${record.rule?.evidence ?? 'unknown'}).`,
      `The rule that spares it: ${stepText(step)}`,
    ],
    fix: `Nothing, if it is wanted: there is no mutual TLS, no policy and no telemetry for it. Otherwise take it out of ${out ? 'excludeOutboundPorts or excludeOutboundIPRanges' : 'excludeInboundPorts'} (annotations traffic.sidecar.istio.io/… of the pod), or add it to the include lists.`,
  };
}
