/** Somebody dials the proxy's own capture port: it knows no destination then, and closes the connection. */
import type { Subject } from '../annotate/subject.ts';
import { Drafts } from './drafts.ts';
import { type Finding, playing } from './finding.ts';
import { connectionText, placeName, verdictText } from './quote.ts';

const rule = 'proxy-port-dialled';

export const proxyPortDialled: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const subject of playing(input, 'app-to-self', 'client-to-proxy', 'direct', 'loopback')) {
      if (!dialsProxy(subject)) continue;
      const { record, translation, world } = subject;
      const { port } = translation.destination;
      drafts.add(world, `${port} ${record.source.ip}`, [subject], input.pathsThrough(record.id), () => ({
        severity: 'warning',
        title: `${record.source.pod ?? record.source.ip} dials port ${port} of ${placeName(world)}, on which its proxy waits for redirected connections`,
        proof: [
          `${connectionText(subject)}: ${record.state}${subject.flow.payloadToSource ? '' : ', without a byte from the proxy'}.`,
          `${verdictText(subject)}.`,
          ...(record.envoy?.cluster === undefined
            ? []
            : [`Envoy leads it to ${record.envoy.cluster}${record.envoy.chain === undefined ? '' : ` (chain "${record.envoy.chain}")`}.`]),
        ],
        fix: 'Call the port of the application or of its Service: the rules bring the connection to the proxy by themselves.',
      }));
    }
    return drafts.records();
  },
};

function dialsProxy(subject: Subject): boolean {
  const { ports, place, translation, flow } = subject;
  const { port } = translation.destination;
  if (flow.protocol !== 'tcp' || !place.destinationIsOurs || (!ports.outbound.has(port) && !ports.inbound.has(port))) return false;
  return !flow.midstream;
}
