/**
 * Both sides wait: the proxy wants the client's first bytes to tell the protocol, the client wants the server to speak first. Nobody dials the server, and the connection hangs.
 */
import type { Subject } from '../annotate/subject.ts';
import { listenerLabel } from '../envoy/listener.ts';
import { clearIntoTls } from './clear-into-tls.ts';
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding, IndexedNamespace } from './finding.ts';
import { connectionText, durationText, peerText, placeName } from './quote.ts';

const rule = 'waiting-for-first-byte';
/** A client that is merely slow has spoken by then. */
const LONG_NS = 1e9;

export const waitingForFirstByte: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    let explained: Set<Subject> | undefined;
    for (const namespace of input.namespaces) {
      let speakers: Map<number, Subject> | undefined;
      for (const subject of namespace.playing('app-to-proxy', 'client-to-proxy')) {
        if (!hangs(subject)) continue;
        explained ??= new Set([...clearIntoTls(input)].flatMap((found) => (found.by === 'proxy' ? [found.subject] : [])));
        if (explained.has(subject)) continue;
        speakers ??= serversThatSpeakFirst(namespace);
        const { record, translation } = subject;
        const first = speakers.get(translation.destination.port);
        drafts.add(
          namespace.world,
          `${record.roles.join()} ${translation.destination.ip} ${translation.destination.port}`,
          [subject],
          input.pathsThrough(record.id),
          () => describe(subject, first),
        );
      }
    }
    return drafts.records();
  },
};

function hangs({ flow, connection }: Subject): boolean {
  if (flow.protocol !== 'tcp' || connection === undefined || flow.midstream || flow.payloadToDestination || flow.payloadToSource)
    return false;
  if (flow.tcp?.isnToSource === undefined) return false;
  return (
    flow.lastNs - flow.firstNs >= LONG_NS &&
    connection.ways.length > 0 &&
    connection.ways.every(({ outcome, doubt }) => outcome === 'waiting' && doubt === undefined)
  );
}

/** By port: a connection on which the server was seen to speak first. */
function serversThatSpeakFirst({ subjects }: IndexedNamespace): Map<number, Subject> {
  const ports = new Map<number, Subject>();
  for (const subject of subjects)
    if (subject.tracker?.protocol === 'server-first') ports.set(subject.translation.destination.port, subject);
  return ports;
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
      `Listener "${listenerLabel(listener)}" looks at the first bytes (${connection!.inspectors.filter((name) => name.endsWith('inspector')).join(', ')}) and waits for them without end, so it has chosen no chain and dialled nobody (derived from its configuration).`,
      first === undefined
        ? 'Whether the server speaks first was not seen: the client may also have opened the connection in advance.'
        : `On this port the server was seen to speak first: ${connectionText(first)}.`,
    ],
    fix: 'Say what the port speaks: name the Service\'s port "tcp-…" or "mysql-…", "mongo-…" (or set appProtocol), so that the proxy does not look at it; or exclude the port from interception.',
  };
}
