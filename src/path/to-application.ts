/** Connections to the application: on which of them may the proxy have sent on what came in, and which may be the application's own. */
import type { Subject } from '../annotate/subject.ts';
import { findField } from '../decode/header-field.ts';
import type { EnvoyConfig } from '../envoy/config.ts';
import type { EnvoyHistory } from '../envoy/history.ts';
import type { Exchange } from '../flow/http.ts';
import { formatEndpoint, isLoopback } from '../net/address.ts';

/**
 * May what came in on `downstream` have gone on to the application on `upstream`? The proxy sends what came in for a port on to that port, unless its cluster for it says another; to a loopback
 * address only where a cluster has it as its endpoint; and where it sends from an address that is not the pod's, that is the client's: connections to the application are kept for one client each.
 * Source: Envoy extensions/filters/listener/original_src (the address becomes a socket option, by which connection pools are told apart); Istio's TPROXY mode.
 */
export function mayGoOnTo(downstream: Subject, upstream: Subject): boolean {
  const { place, translation } = upstream;
  const transparent = place.onLoopback && !place.sourceIsOurs && upstream.world.addresses.size > 0 && !isLoopback(translation.source.ip);
  if (transparent && translation.source.ip !== downstream.translation.source.ip) return false;
  const { ip, port } = downstream.translation.destination;
  const { destination } = translation;
  const history = downstream.world.envoy;
  if (history !== undefined && isLoopback(destination.ip) && !isLoopback(ip))
    return mayHaveLoopback(history, port, formatEndpoint(destination.ip, destination.port));
  if (destination.port === port) return true;
  const clusters = history?.configs.flatMap((config) => [...(config.clusters.get(`inbound|${port}||`) ?? [])]) ?? [];
  return clusters.some(({ value }) => value.type !== 'ORIGINAL_DST' && value.endpoints.length > 0);
}

/**
 * Did a request to the application surely come in by the proxy? What the application asks itself on a loopback address looks the same, but for what every HTTP connection manager adds.
 * Source: Envoy source/common/http/conn_manager_utility.cc, mutateRequestHeaders().
 */
export function surelyCameIn(upstream: Subject, exchange: Exchange): boolean {
  return !upstream.record.roles.includes('loopback') || findField(exchange.request?.headers ?? [], 'x-forwarded-proto') !== undefined;
}

/** Where Istio sends what comes in for a port that no service has: where it was meant for. */
const PASSTHROUGH = ['InboundPassthroughCluster', 'InboundPassthroughClusterIpv4', 'InboundPassthroughClusterIpv6'];

interface Inbound {
  /** Clusters for what comes in, by port. */
  readonly byPort: ReadonlyMap<number, readonly { readonly config: EnvoyConfig; readonly name: string }[]>;
  /** Other configurations than Istio's have names of their own. */
  readonly isIstio: boolean;
}

const inbounds = new WeakMap<EnvoyHistory, Inbound>();

function inboundOf(history: EnvoyHistory): Inbound {
  let inbound = inbounds.get(history);
  if (inbound === undefined) {
    const byPort = new Map<number, { config: EnvoyConfig; name: string }[]>();
    for (const config of history.configs)
      for (const name of config.clusters.keys()) {
        const port = /^inbound\|(\d{1,5})\|/.exec(name)?.[1];
        if (port === undefined) continue;
        const known = byPort.get(Number(port));
        if (known === undefined) byPort.set(Number(port), [{ config, name }]);
        else known.push({ config, name });
      }
    inbound = { byPort, isIstio: history.configs.some(({ clusters }) => PASSTHROUGH.some((name) => clusters.has(name))) };
    inbounds.set(history, inbound);
  }
  return inbound;
}

/** May a cluster for what comes in on a port have this endpoint? Clusters that send it where it was meant for do not have another. */
function mayHaveLoopback(history: EnvoyHistory, port: number, target: string): boolean {
  const { byPort, isIstio } = inboundOf(history);
  const clusters = byPort.get(port);
  if (clusters === undefined) return !isIstio;
  return clusters.some(({ config, name }) =>
    (config.clusters.get(name) ?? []).some(({ value }) => {
      if (value.type === 'ORIGINAL_DST') return value.originalDstHeader !== '' || value.originalDstOther;
      const endpoints = config.endpointsOf(value);
      return endpoints === undefined || endpoints.some((endpoint) => endpoint.target === target);
    }),
  );
}
