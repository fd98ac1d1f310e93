/** The rules send connections to the proxy, and no proxy is there: it died, has not started yet, or has ended before the application. */
import type { Subject } from '../annotate/subject.ts';
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding, FindingNamespace } from './finding.ts';
import { plays } from './finding.ts';
import { listenersOn, socketText } from './listening.ts';
import { connectionText, durationText, listText, placeName, verdictText } from './quote.ts';

const rule = 'proxy-not-listening';

export const proxyNotListening: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const namespace of input.namespaces)
      for (const subject of namespace.playing('app-to-proxy', 'client-to-proxy')) {
        const port = unansweredPort(subject);
        if (port !== undefined)
          drafts.add(namespace.world, String(port), [subject], input.pathsThrough(subject.record.id), () =>
            describe(namespace, subject, port),
          );
      }
    return drafts.records();
  },
};

/** The proxy's port that did not answer. REDIRECT to a port without a listener is refused; TPROXY drops without a word (Linux net/netfilter/xt_TPROXY.c). */
function unansweredPort(subject: Subject): number | undefined {
  const { rule: verdict, state } = subject.record;
  if (subject.flow.protocol !== 'tcp') return undefined;
  if (verdict?.port === undefined || (verdict.evidence !== 'observed' && verdict.evidence !== 'derived')) return undefined;
  if (state === 'refused') return verdict.verdict === 'TPROXY' ? undefined : verdict.port;
  if (state !== 'unanswered' || verdict.verdict !== 'TPROXY') return undefined;
  return listenersOn(subject.world, verdict.port)?.length === 0 ? verdict.port : undefined;
}

function describe({ subjects }: FindingNamespace, subject: Subject, port: number): FindingText {
  const { world, flow } = subject;
  const served = subjects.filter(
    (other) =>
      other.record.rule?.port === port && other.flow.tcp?.isnToSource !== undefined && plays(other, 'app-to-proxy', 'client-to-proxy'),
  );
  const later = served.find((other) => other.flow.firstNs > flow.firstNs);
  const earlier = served.findLast((other) => other.flow.firstNs < flow.firstNs);
  const proof = [
    `${connectionText(subject)}: ${flow.state === 'refused' ? 'the SYN was answered with RST' : `${flow.packetsToDestination} SYNs, and no answer`}.`,
    `${verdictText(subject)}.`,
  ];
  const listeners = listenersOn(world, port);
  if (listeners !== undefined)
    proof.push(
      listeners.length === 0
        ? `The listing of sockets shows nothing on port ${port}.`
        : `The listing of sockets shows ${listText(listeners.map(socketText))}: not at that moment.`,
    );
  if (earlier !== undefined) proof.push(`The last connection that the same port took before began at ${earlier.record.first}.`);
  if (later !== undefined)
    proof.push(`The first one after it began ${durationText(later.flow.firstNs - flow.firstNs)} later, at ${later.record.first}.`);
  const fix =
    later !== undefined && earlier === undefined
      ? 'The application began before its proxy was ready: let the proxy start first (holdApplicationUntilProxyStarts, or native sidecars), or let the application try again.'
      : later === undefined && earlier !== undefined
        ? 'The proxy ended before the traffic did: look at its log for a crash; at shutdown let it outlive the application (native sidecars, EXIT_ON_ZERO_ACTIVE_CONNECTIONS, terminationDrainDuration).'
        : 'Look why the proxy does not run (kubectl logs POD -c istio-proxy --previous): all that the rules catch fails until it does.';
  return {
    severity: 'error',
    title: `Connections of ${placeName(world)} are sent to its proxy on port ${port}, where no proxy listens`,
    proof,
    fix,
  };
}
