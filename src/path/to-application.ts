/** Connections to the application: on which of them may the proxy have sent on what came in, and which may be the application's own. */
import type { Subject } from '../annotate/subject.ts';
import { findField } from '../decode/header-field.ts';
import type { EnvoyConfig } from '../envoy/config.ts';
import type { EnvoyHistory } from '../envoy/history.ts';
import type { Exchange } from '../flow/http.ts';
import { formatEndpoint, isLoopback } from '../net/address.ts';
import { push } from './multi-map.ts';

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

/** Of more requests with one id it is not asked whether one encloses another. */
const ALIKE_MAX = 256;

interface Asked {
  readonly subject: Subject;
  readonly exchange: Exchange;
}

/**
 * Tells whether a request to the application surely came in by the proxy. What the application asks itself on a loopback address looks the same, but for what every HTTP connection manager adds;
 * and another program of the pod, asked before with the same id and not done yet, may have passed on even that.
 * Source: Envoy source/common/http/conn_manager_utility.cc, mutateRequestHeaders().
 *
 * @param all requests to the application
 */
export function surelyCameIn(all: readonly Asked[]): (asked: Asked) => boolean {
  let byId: Map<string, Asked[]> | undefined;
  const index = () => {
    const found = new Map<string, Asked[]>();
    for (const asked of all) {
      const id = asked.exchange.request?.requestId;
      if (id !== undefined) push(found, id, asked);
    }
    return found;
  };
  const encloses = (outer: Exchange, startNs: number) =>
    (outer.requestStartNs ?? Number.POSITIVE_INFINITY) < startNs && (outer.responseStartNs ?? Number.POSITIVE_INFINITY) > startNs;
  return ({ subject, exchange: { request, requestStartNs = 0 } }) => {
    if (!subject.record.roles.includes('loopback')) return true;
    if (findField(request?.headers ?? [], 'x-forwarded-proto') === undefined) return false;
    if (request?.requestId === undefined) return true;
    byId ??= index();
    const alike = byId.get(request.requestId)!;
    return alike.length <= ALIKE_MAX && !alike.some((other) => other.subject !== subject && encloses(other.exchange, requestStartNs));
  };
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
        const named = /^inbound\|(\d{1,5})\|/.exec(name)?.[1];
        if (named === undefined) continue;
        // Before Istio 1.10 the name has the service's port; what comes in has that of the endpoint.
        const ports = new Set([Number(named)]);
        for (const { value } of config.clusters.get(name) ?? [])
          for (const { target } of config.endpointsOf(value) ?? []) {
            const port = /:(\d{1,5})$/.exec(target)?.[1];
            if (port !== undefined) ports.add(Number(port));
          }
        for (const port of ports) push(byPort, port, { config, name });
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
