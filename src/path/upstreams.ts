/** Which upstream connections come into question for a decision: those that go where it may send something, in the form in which it would, and whose server name does not say otherwise. */
import type { Subject } from '../annotate/subject.ts';
import type { Alternative, RoutedDecision } from '../envoy/alternative.ts';
import type { Cluster } from '../envoy/cluster.ts';
import type { EnvoyHistory } from '../envoy/history.ts';
import { formatClusterName, parseServerName } from '../istio/cluster-name.ts';
import { formatEndpoint } from '../net/address.ts';

/** The cluster that the client's proxy named in its ClientHello, when it did. */
export function clusterOfHello(subject: Subject): string | undefined {
  const sni = subject.tracker?.tls?.clientHello?.sni;
  const name = sni === undefined ? undefined : parseServerName(sni);
  return name === undefined ? undefined : formatClusterName(name);
}

function targetOf(upstream: Subject): string {
  return formatEndpoint(upstream.translation.destination.ip, upstream.translation.destination.port);
}

/** Is the connection encrypted, in the clear, or did it carry nothing that tells? */
function isEncrypted(upstream: Subject): boolean | undefined {
  const protocol = upstream.tracker?.protocol;
  if (protocol === 'tls') return true;
  return protocol === 'http1' || protocol === 'http2' || protocol === 'server-first' ? false : undefined;
}

/**
 * Can this upstream connection be one that the decision leads to? `true` also where nothing is known of where it leads.
 *
 * @param encryptedAlready the client's own encryption is passed through: then the bytes tell nothing of the cluster's
 */
export function mayLeadTo(routed: RoutedDecision | undefined, upstream: Subject, encryptedAlready: boolean): boolean {
  if (routed === undefined || routed.alternatives.length === 0) return true;
  for (const alternative of routed.alternatives) {
    if (alternative.doubt !== undefined || alternative.unsure !== undefined) return true;
    if (leadsTo(alternative, upstream, routed.connection.history, encryptedAlready)) return true;
    if (alternative.otherwise !== undefined && leadsTo(alternative.otherwise, upstream, routed.connection.history, encryptedAlready))
      return true;
  }
  return false;
}

function leadsTo(alternative: Alternative, upstream: Subject, history: EnvoyHistory, encryptedAlready: boolean): boolean {
  const { destination, cluster } = alternative;
  if (destination === undefined) return false;
  const target = targetOf(upstream);
  const named = clusterOfHello(upstream);
  if (named !== undefined && cluster !== undefined && !encryptedAlready && named !== cluster) return false;
  if (destination.members !== undefined && !destination.doubtful && !destination.members.includes(target)) return false;
  return encryptedAlready || cluster === undefined || fitsTransport(cluster, upstream, target, history);
}

/** Does the cluster speak to this endpoint the way the connection does: encrypted, or in the clear? */
function fitsTransport(name: string, upstream: Subject, target: string, history: EnvoyHistory): boolean {
  const encrypted = isEncrypted(upstream);
  if (encrypted === undefined) return true;
  let told = false;
  for (const config of history.configs)
    for (const { value } of config.clusters.get(name) ?? []) {
      const endpoints = config.endpointsOf(value);
      const known = endpoints?.filter((endpoint) => endpoint.target === target) ?? [];
      const metadata = value.type === 'ORIGINAL_DST' ? [{}] : known.map((endpoint) => endpoint.transportSocketMatch);
      for (const match of metadata) {
        told = true;
        const { tls } = value.transportFor(match);
        if (tls === 'unknown' || tls === encrypted) return true;
      }
    }
  return !told;
}

const protocols = new WeakMap<EnvoyHistory, Map<string, boolean | undefined>>();

/** Does the proxy speak HTTP/2 on connections to this endpoint? `undefined` where clusters differ, or nothing is known. */
export function speaksHttp2(upstream: Subject): boolean | undefined {
  const history = upstream.world.envoy;
  if (history === undefined) return undefined;
  const target = targetOf(upstream);
  const encrypted = isEncrypted(upstream);
  let known = protocols.get(history);
  if (known === undefined) {
    known = new Map();
    protocols.set(history, known);
  }
  const key = `${target} ${encrypted}`;
  if (!known.has(key)) known.set(key, agreedProtocol(history, target, encrypted));
  return known.get(key);
}

/** Of the clusters that this endpoint is in and that speak to it in this form. */
function agreedProtocol(history: EnvoyHistory, target: string, encrypted: boolean | undefined): boolean | undefined {
  const found = new Set<Cluster['http2']>();
  for (const config of history.configs)
    for (const versions of config.clusters.values())
      for (const { value } of versions)
        for (const endpoint of config.endpointsOf(value) ?? []) {
          if (endpoint.target !== target) continue;
          const { tls } = value.transportFor(endpoint.transportSocketMatch);
          if (encrypted === undefined || tls === 'unknown' || tls === encrypted) found.add(value.http2);
        }
  if (found.size !== 1) return undefined;
  const [only] = found;
  return typeof only === 'boolean' ? only : undefined;
}
