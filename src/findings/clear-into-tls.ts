/**
 * Connections without TLS that came to a proxy whose chains for their port all demand it. Three rules tell them apart by who sent them.
 */
import type { Subject } from '../annotate/subject.ts';
import type { FilterChain } from '../envoy/filter-chain.ts';
import { findFilterChains, whyRejected } from '../envoy/filter-chain-match.ts';
import { listenerLabel } from '../envoy/listener.ts';
import { type FindingInput, playing, plays } from './finding.ts';
import { connectionText, durationText, listText, placeName } from './quote.ts';

export interface ClearIntoTls {
  readonly subject: Subject;
  /** Label of the listener that looked for a chain. */
  readonly listener: string;
  /** The chains that would take the connection if it were TLS. */
  readonly chains: readonly FilterChain[];
  /** The client sent something, found no chain and was closed; or it sent nothing, and the proxy waits. */
  readonly spoke: boolean;
  /** The same connection where it was sent, when that was recorded. */
  readonly sent: Subject | undefined;
  readonly by: 'proxy' | 'past-its-proxy' | 'without-proxy';
}

/** What an HTTP inspector may find in the clear. */
const CLEAR = [['http/1.1'], ['h2c'], ['http/1.0'], []];

export function* clearIntoTls(input: FindingInput): Generator<ClearIntoTls> {
  for (const subject of playing(input, 'client-to-proxy')) {
    const found = judge(subject);
    if (found === undefined) continue;
    const sent = senderOf(input, subject);
    yield { subject, ...found, sent, by: kindOf(sent) };
  }
}

/** The connection on the sender's side, in another namespace or (a pod that calls itself) none. */
export function senderOf(input: FindingInput, subject: Subject): Subject | undefined {
  for (const path of input.pathsThrough(subject.record.id)) {
    const at = path.legs.findIndex(({ flow }) => flow === subject.record.id);
    const join = path.joins.find(({ from, to, by }) => by === 'tuple' && to === at && from === at - 1);
    if (join !== undefined) return input.subjectOf(path.legs[at - 1]!.flow);
  }
  return undefined;
}

function kindOf(sent: Subject | undefined): ClearIntoTls['by'] {
  if (sent === undefined || !sent.ports.captures) return 'without-proxy';
  return plays(sent, 'proxy-to-upstream') ? 'proxy' : 'past-its-proxy';
}

function judge(subject: Subject): Pick<ClearIntoTls, 'listener' | 'chains' | 'spoke'> | undefined {
  const { flow, connection, tracker } = subject;
  if (connection === undefined || flow.midstream || flow.payloadToSource || flow.tcp?.isnToSource === undefined) return undefined;
  const listener = connection.ways[0]?.listener?.value;
  const local = connection.ways[0]?.local;
  if (listener === undefined || local === undefined || listener.hasFilterChainMatcher) return undefined;
  const closed = connection.ways.every(({ outcome, doubt }) => outcome === 'no-chain' && doubt === undefined);
  const waiting = connection.ways.every(({ outcome, doubt }) => outcome === 'waiting' && doubt === undefined);
  if (!closed && !waiting) return undefined;
  if (closed && (tracker === undefined || tracker.protocol === 'tls' || tracker.protocol === 'unknown')) return undefined;
  if (connection.ways.some((way) => way.listener?.value !== listener)) return undefined;
  const clear = { destination: local, source: connection.facts.source, serverName: '', transportProtocol: 'raw_buffer' };
  const taken = CLEAR.some((applicationProtocols) =>
    findFilterChains(listener, { ...clear, applicationProtocols }).some((chain) => chain !== undefined),
  );
  if (taken) return undefined;
  const fitting = listener.filterChains.filter(
    (chain) => whyRejected(chain, { ...clear, applicationProtocols: [] }) === 'transport-mismatch',
  );
  // A chain for the very port leaves no other one: Envoy goes by the most specific port first.
  const ofPort = fitting.filter(({ match }) => match.destinationPort === local.port);
  const chains = ofPort.length > 0 ? ofPort : fitting;
  if (chains.some(({ tls }) => tls !== 'mutual' && tls !== 'tls')) return undefined;
  return chains.length === 0 ? undefined : { listener: listenerLabel(listener), chains, spoke: closed };
}

const chainText = (chain: FilterChain) =>
  `"${chain.name}" (chain ${chain.index}${chain.tls === 'mutual' ? ', demands a client certificate' : ''})`;

/** What all three rules quote. */
export function serverProof({ subject, listener, chains, spoke }: ClearIntoTls): string[] {
  const { flow, record } = subject;
  const end =
    flow.state === 'open'
      ? 'no byte came back'
      : `closed after ${durationText(flow.lastNs - flow.firstNs)} (${record.state}) without a byte from the server`;
  return [
    `${connectionText(subject)}: ${spoke ? 'the client spoke, not TLS' : 'neither side sent a byte'}; ${end}.`,
    `Listener "${listener}" of ${placeName(subject.world)} has for port ${subject.translation.destination.port} only ${chains.length === 1 ? 'a chain that takes' : `${chains.length} chains that take`} TLS: ${listText(chains.map(chainText))}; none takes plain text (derived from its configuration).`,
  ];
}
