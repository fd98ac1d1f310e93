/** A client speaks a TLS of its own to a proxy that takes the mesh's TLS only: no chain for it, or one that demands a certificate which the client does not have. */
import type { Subject } from '../annotate/subject.ts';
import type { FilterChain } from '../envoy/filter-chain.ts';
import { whyRejected } from '../envoy/filter-chain-match.ts';
import { listenerLabel } from '../envoy/listener.ts';
import { isMeshProtocol } from '../istio/alpn.ts';
import { parseServerName } from '../istio/cluster-name.ts';
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding, IndexedNamespace } from './finding.ts';
import { connectionText, durationText, listText, placeName } from './quote.ts';
import { Standing } from './standing.ts';

const rule = 'foreign-tls';

interface Foreign {
  readonly subject: Subject;
  readonly how: 'no-chain' | 'certificate';
  readonly listener: string;
  readonly chains: readonly FilterChain[];
}

export const foreignTls: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const namespace of input.namespaces) {
      let wentOn: Map<number, Standing> | undefined;
      for (const subject of namespace.playing('client-to-proxy')) {
        const found = judge(subject, () => {
          wentOn ??= onwards(namespace);
          return wentOn;
        });
        if (found === undefined) continue;
        const { record, translation } = subject;
        drafts.add(
          namespace.world,
          `${translation.destination.port} ${record.source.ip} ${found.how}`,
          [subject],
          input.pathsThrough(record.id),
          () => describe(found),
        );
      }
    }
    return drafts.records();
  },
};

function judge(subject: Subject, wentOn: () => ReadonlyMap<number, Standing>): Foreign | undefined {
  const { flow, connection, tracker } = subject;
  const hello = tracker?.tls?.clientHello;
  if (flow.midstream || connection === undefined || hello === undefined || hello.cut) return undefined;
  if (hello.alpn.some(isMeshProtocol) || (hello.sni !== undefined && parseServerName(hello.sni) !== undefined)) return undefined;
  const [way] = connection.ways;
  const listener = way?.listener?.value;
  if (listener === undefined || connection.ways.some(({ doubt, listener: other }) => doubt !== undefined || other?.value !== listener))
    return undefined;
  if (connection.ways.every(({ outcome }) => outcome === 'no-chain')) {
    if (flow.payloadToSource || way?.local === undefined) return undefined;
    const input = {
      destination: way.local,
      source: connection.facts.source,
      serverName: (hello.sni ?? '').toLowerCase(),
      transportProtocol: 'tls',
      applicationProtocols: hello.alpn,
    };
    const chains = listener.filterChains.filter((chain) => whyRejected(chain, input) === 'application-protocol-mismatch');
    return chains.length === 0 ? undefined : { subject, how: 'no-chain', listener: listenerLabel(listener), chains };
  }
  const chains = connection.ways.flatMap(({ chain }) => (chain === undefined ? [] : [chain]));
  if (chains.length !== connection.ways.length || chains.some((chain) => chain.tls !== 'mutual') || !flow.ended) return undefined;
  const gone = wentOn().get(subject.translation.destination.port)?.find(flow.firstNs, flow.lastNs);
  return gone === undefined ? { subject, how: 'certificate', listener: listenerLabel(listener), chains } : undefined;
}

/** By port, what may have gone on to the application. */
function onwards(namespace: IndexedNamespace): Map<number, Standing> {
  const byPort = new Map<number, Subject[]>();
  for (const subject of namespace.playing('proxy-to-app', 'unknown', 'loopback')) {
    if (!subject.flow.payloadToDestination) continue;
    const { port } = subject.translation.destination;
    const list = byPort.get(port);
    if (list === undefined) byPort.set(port, [subject]);
    else list.push(subject);
  }
  return new Map([...byPort].map(([port, list]) => [port, new Standing(list)]));
}

function describe({ subject, how, listener, chains }: Foreign): FindingText {
  const { record, flow, world, translation } = subject;
  const hello = subject.tracker!.tls!.clientHello!;
  const { port } = translation.destination;
  const offered = hello.alpn.length === 0 ? 'no application protocol' : `the application protocols ${listText(hello.alpn)}`;
  const names = listText(chains.map(({ name, index }) => `"${name}" (chain ${index})`));
  return {
    severity: 'error',
    title: `${record.source.pod ?? record.source.ip} speaks a TLS of its own to port ${port} of ${placeName(world)}, whose proxy takes the mesh's TLS only`,
    proof: [
      `${connectionText(subject)}: the TLS ClientHello offers ${offered}, none of Istio's, and ${hello.sni === undefined ? 'no server name' : `the server name ${hello.sni}`}; closed after ${durationText(flow.lastNs - flow.firstNs)} (${record.state}).`,
      how === 'no-chain'
        ? `Listener "${listener}" has for this port chains for other application protocols only: ${names} (derived from its configuration).`
        : `Listener "${listener}" gives it to ${names}, which demands a client certificate of the mesh (derived from its configuration); nothing was sent to the application while the connection stood.`,
    ],
    fix:
      how === 'no-chain'
        ? `Declare what the port really speaks: name the Service's port "https-…" or "tls-…" (or appProtocol) instead of http, so that the proxy passes foreign TLS through; or let the client use plain text inside the mesh, which its proxy encrypts.`
        : `Give the client a sidecar, and let it speak plain text to its own proxy; or let the server take clients from outside the mesh: PeerAuthentication with mode PERMISSIVE for port ${port}.`,
  };
}
