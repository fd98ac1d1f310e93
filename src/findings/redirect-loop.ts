/** The rules send the proxy's own connection back to the proxy: it talks to itself, once or without end. */
import type { Subject } from '../annotate/subject.ts';
import { formatEndpoint } from '../net/address.ts';
import { Drafts, type FindingText } from './drafts.ts';
import { type Finding, type IndexedNamespace, plays } from './finding.ts';
import { connectionText, placeName, verdictText } from './quote.ts';
import { Standing } from './standing.ts';

const rule = 'redirect-loop';

export const redirectLoop: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const namespace of input.namespaces)
      for (const [subject, before] of loops(namespace)) {
        const { ip, port } = subject.translation.destination;
        const flows = before === undefined ? [subject] : [subject, before];
        drafts.add(
          namespace.world,
          `${ip} ${port}`,
          flows,
          flows.flatMap(({ record }) => input.pathsThrough(record.id)),
          () => describe(subject, before),
        );
      }
    return drafts.records();
  },
};

/** The proxy's connection, and the one that it was opened for. */
function* loops(namespace: IndexedNamespace): Generator<[Subject, Subject | undefined]> {
  const captured = [...namespace.playing('app-to-proxy', 'client-to-proxy')].filter(
    ({ flow }) => flow.protocol === 'tcp' && !flow.midstream,
  );
  const incoming = new Map<string, Subject[]>();
  for (const subject of captured) {
    if (!plays(subject, 'client-to-proxy')) continue;
    const list = incoming.get(endOf(subject));
    if (list === undefined) incoming.set(endOf(subject), [subject]);
    else list.push(subject);
  }
  const opened = new Standing(captured.filter((subject) => plays(subject, 'app-to-proxy')));
  const standing = new Map<string, Standing>();
  for (const subject of captured) {
    const { firstNs } = subject.flow;
    // What the application opens is captured, what the proxy opens is not: unless the rules spare another user than the proxy's.
    if (plays(subject, 'app-to-proxy') && subject.record.owner?.process === 'envoy') yield [subject, undefined];
    if (!plays(subject, 'proxy-to-upstream') || !plays(subject, 'client-to-proxy')) continue;
    const end = endOf(subject);
    const same = standing.get(end) ?? new Standing(incoming.get(end) ?? []);
    standing.set(end, same);
    const before = same.find(firstNs, firstNs);
    // A pod that calls itself by its service comes back the same way: then a connection of the application stands.
    if (before !== undefined && opened.find(firstNs, firstNs) === undefined) yield [subject, before];
  }
}

function endOf({ translation }: Subject): string {
  return formatEndpoint(translation.destination.ip, translation.destination.port);
}

function describe(subject: Subject, before: Subject | undefined): FindingText {
  const { world, record } = subject;
  return {
    severity: 'error',
    title: `The proxy of ${placeName(world)} is sent back to itself when it dials ${endOf(subject)}`,
    proof: [
      ...(before === undefined ? [] : [`${connectionText(before)}: taken by the proxy.`]),
      `${connectionText(subject)}: opened by the proxy ${before === undefined ? `(process ${record.owner?.process ?? ''}, user ${record.owner?.uid ?? 'unknown'}, observed)` : 'while the one before stood and no connection of the application did'}.`,
      `${verdictText(subject)}.`,
    ],
    fix:
      before === undefined
        ? 'Let the rules spare the user that the proxy runs as (istio-iptables -u, or run the proxy as the user that they name).'
        : "The proxy has to reach the application from an address that the rules spare (127.0.0.6, ::6: upstream_bind_config of the inbound cluster), of the same family as the application's.",
  };
}
