/**
 * Names that Istio gives to clusters, and the same as a server name.
 *
 * `outbound|9080|v1|reviews.default.svc.cluster.local` is direction, port, subset and host; as SNI on mutual TLS it is `outbound_.9080_.v1_.reviews.default.svc.cluster.local`.
 * Inbound clusters have neither subset nor host since Istio 1.8 (`inbound|9080||`), before that the port's name and the host.
 * Source: istio/istio pilot/pkg/model/push_context.go (BuildSubsetKey, BuildDNSSrvSubsetKey, ParseSubsetKey).
 */
export type ClusterDirection = 'outbound' | 'inbound' | 'inbound-vip' | 'inbound-hbone';

export interface ClusterName {
  readonly direction: ClusterDirection;
  readonly port: number;
  /** Subset of a DestinationRule, '' none; of an inbound cluster of old the port's name. */
  readonly subset: string;
  /** '' none. */
  readonly host: string;
}

const directions = new Set<string>(['outbound', 'inbound', 'inbound-vip', 'inbound-hbone']);

function fromParts(parts: readonly string[]): ClusterName | undefined {
  const [direction = '', port = '', subset = '', host = ''] = parts;
  if (parts.length !== 4 || !directions.has(direction) || !/^\d{1,5}$/.test(port) || Number(port) > 65535) return undefined;
  return { direction: direction as ClusterDirection, port: Number(port), subset, host };
}

/** `undefined` for names of another form (`PassthroughCluster`, `xds-grpc`, those of other control planes). */
export function parseClusterName(name: string): ClusterName | undefined {
  return fromParts(name.split('|'));
}

export function formatClusterName({ direction, port, subset, host }: ClusterName): string {
  return `${direction}|${port}|${subset}|${host}`;
}

/** A server name in Istio's form; `undefined` for any other. Hosts may hold underscores, subsets may not hold `_.`. */
export function parseServerName(serverName: string): ClusterName | undefined {
  const parts = serverName.split('_.');
  return parts.length < 4 ? undefined : fromParts([...parts.slice(0, 3), parts.slice(3).join('_.')]);
}

export function formatServerName({ direction, port, subset, host }: ClusterName): string {
  return `${direction}_.${port}_.${subset}_.${host}`;
}

/** What a cluster without direction and port is for. */
export type SpecialCluster = 'passthrough' | 'inbound-passthrough' | 'black-hole' | 'control-plane' | 'agent';

const special: { readonly [name: string]: SpecialCluster } = {
  PassthroughCluster: 'passthrough',
  InboundPassthroughCluster: 'inbound-passthrough',
  InboundPassthroughClusterIpv4: 'inbound-passthrough',
  InboundPassthroughClusterIpv6: 'inbound-passthrough',
  BlackHoleCluster: 'black-hole',
  'xds-grpc': 'control-plane',
  'sds-grpc': 'control-plane',
  zipkin: 'control-plane',
  agent: 'agent',
  prometheus_stats: 'agent',
};

export function specialCluster(name: string): SpecialCluster | undefined {
  return Object.hasOwn(special, name) ? special[name] : undefined;
}

/** `namespace/name` of the Kubernetes service that a host is, if it is one (`name.namespace.svc.…`). */
export function serviceOfHost(host: string): string | undefined {
  const m = /^([^.]+)\.([^.]+)\.svc(\.|$)/.exec(host);
  return m === null ? undefined : `${m[2]}/${m[1]}`;
}
