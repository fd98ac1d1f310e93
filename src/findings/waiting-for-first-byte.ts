/**
 * Both sides wait: the proxy wants the client's first bytes to tell the protocol, the client wants the server to speak first. Nobody dials the server, and the connection hangs.
 */
import type { Subject } from '../annotate/subject.ts';
import { listenerLabel } from '../envoy/listener.ts';
import { clearIntoTls } from './clear-into-tls.ts';
import { Drafts, type FindingText } from './drafts.ts';
import { type Finding, type FindingInput, plays } from './finding.ts';
import { connectionText, durationText, peerText, placeName } from './quote.ts';

const rule = 'waiting-for-first-byte';
/** A client that is merely slow has spoken by then. */
const LONG_NS = 1e9;

export const waitingForFirstByte: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    const explained = new Set<Subject>();
    for (const { subject, by } of clearIntoTls(input)) if (by === 'proxy') explained.add(subject);
    const speakers = serversThatSpeakFirst(input);
    for (const { world, subjects } of input.namespaces)
      for (const subject of subjects) {
        if (explained.has(subject) || !hangs(subject)) continue;
        const { record, translation } = subject;
        const first = speakers.get(world)?.get(translation.destination.port);
        drafts.add(
          world,
          `${record.roles.join()} ${translation.destination.ip} ${translation.destination.port}`,
          [subject],
          input.pathsThrough(record.id),
          () => describe(subject, first),
        );
      }
    return drafts.records();
  },
};

function hangs({ flow, connection, record }: Subject): boolean {
  if (flow.protocol !== 'tcp' || connection === undefined || flow.midstream || flow.payloadToDestination || flow.payloadToSource)
    return false;
  if (!record.roles.some((role) => role === 'app-to-proxy' || role === 'client-to-proxy') || flow.tcp?.isnToSource === undefined)
    return false;
  return (
    flow.lastNs - flow.firstNs >= LONG_NS &&
    connection.ways.length > 0 &&
    connection.ways.every(({ outcome, doubt }) => outcome === 'waiting' && doubt === undefined)
  );
}

/** By namespace and port: a connection on which the server was seen to speak first. */
function serversThatSpeakFirst(input: FindingInput): Map<Subject['world'], Map<number, Subject>> {
  const found = new Map<Subject['world'], Map<number, Subject>>();
  for (const { world, subjects } of input.namespaces) {
    const ports = new Map<number, Subject>();
    for (const subject of subjects)
      if (
        subject.tracker?.protocol === 'server-first' &&
        plays(subject, 'proxy-to-app', 'proxy-to-upstream', 'app-to-proxy', 'client-to-proxy', 'direct', 'app-to-self', 'loopback')
      )
        ports.set(subject.translation.destination.port, subject);
    found.set(world, ports);
  }
  return found;
}

function describe(subject: Subject, first: Subject | undefined): FindingText {
  const { connection, flow, world, record } = subject;
  const listener = connection!.ways[0]!.listener!.value;
  return {
    // Without a server that is known to speak first it may as well be a connection opened in advance.
    severity: first === undefined ? 'warning' : 'error',
    title:
      first === undefined
        ? `A connection to ${peerText(record.destination)} carries nothing, and the proxy of ${placeName(world)} waits for its first bytes`
        : `The proxy of ${placeName(world)} waits for the client to speak, and the client for the server: connections to ${peerText(record.destination)} hang`,
    proof: [
      `${connectionText(subject)}: for ${durationText(flow.lastNs - flow.firstNs)} neither side sent a byte.`,
      `Listener "${listenerLabel(listener)}" looks at the first bytes (${connection!.inspectors.join(', ')}) and waits for them without end, so it has chosen no chain and dialled nobody (derived from its configuration).`,
      first === undefined
        ? 'Whether the server speaks first was not seen: the client may also have opened the connection in advance.'
        : `On this port the server was seen to speak first: ${connectionText(first)}.`,
    ],
    fix: 'Say what the port speaks: name the Service\'s port "tcp-…" or "mysql-…", "mongo-…" (or set appProtocol), so that the proxy does not look at it; or exclude the port from interception.',
  };
}
