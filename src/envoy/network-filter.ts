/** Network filters of a chain. Source: envoy/extensions/filters/network/. */
import { extensionOf } from './extension.ts';
import { type HttpConnectionManager, parseHttpConnectionManager } from './http-connection-manager.ts';
import { type Json, objectAt, objectsAt, textAt } from './json.ts';
import { parseRbac, type Rbac } from './rbac.ts';
import { parseWeightedClusters, type WeightedCluster } from './weighted-cluster.ts';

export interface TcpProxy {
  readonly cluster?: string;
  readonly weighted: readonly WeightedCluster[];
  /** `host:port` of the CONNECT request that the bytes travel in. */
  readonly tunnelingHostname?: string;
}

export type NetworkFilter = { readonly name: string; readonly extension: string } & (
  | { readonly kind: 'http'; readonly manager: HttpConnectionManager }
  | { readonly kind: 'tcp'; readonly proxy: TcpProxy }
  | { readonly kind: 'rbac'; readonly rbac: Rbac }
  /** The SNI names the cluster. */
  | { readonly kind: 'sni-cluster' }
  /** Looks on: statistics, protocol decoders in front of a proxy. */
  | { readonly kind: 'passive' }
  /** May close the connection (limits, authorization), but sends it nowhere else. */
  | { readonly kind: 'may-close' }
  /** Ends the chain by itself: Redis, Thrift, Dubbo, echo, direct response. */
  | { readonly kind: 'terminal' }
  /** May close the connection or send it elsewhere. */
  | { readonly kind: 'unknown' }
);

const kinds: { readonly [kind in 'passive' | 'may-close' | 'terminal' | 'sni-cluster']: ReadonlySet<string> } = {
  passive: new Set([
    ...['mysql_proxy', 'mongo_proxy', 'postgres_proxy', 'zookeeper_proxy', 'kafka_broker', 'kafka_mesh', 'sni_dynamic_forward_proxy'],
    ...[
      'metadata_exchange',
      'istio_stats',
      'stats',
      'authn',
      'istio_authn',
      'mixer',
      'forward_downstream_sni',
      'peer_metadata',
      'null_wasm',
    ],
  ]),
  'may-close': new Set(['connection_limit', 'local_ratelimit', 'ratelimit', 'ext_authz', 'client_ssl_auth', 'geoip', 'reverse_tunnel']),
  terminal: new Set([
    'redis_proxy',
    'thrift_proxy',
    'dubbo_proxy',
    'rocketmq_proxy',
    'sip_proxy',
    'generic_proxy',
    'echo',
    'direct_response',
  ]),
  'sni-cluster': new Set(['sni_cluster']),
};

/** Filter state that names the cluster of the TCP proxy behind. */
function setsCluster(config: Json): boolean {
  return objectsAt(config, 'on_new_connection').some((value) => textAt(value, 'object_key') === 'envoy.tcp_proxy.cluster');
}

function parseTcpProxy(config: Json): TcpProxy {
  // Until API v2's end: `deprecated_v1.routes[].cluster`.
  const older = objectsAt(objectAt(config, 'deprecated_v1'), 'routes')[0];
  const cluster = textAt(config, 'cluster') ?? textAt(older, 'cluster');
  const tunnel = textAt(objectAt(config, 'tunneling_config'), 'hostname');
  return {
    ...(cluster === undefined ? {} : { cluster }),
    weighted: parseWeightedClusters(objectAt(config, 'weighted_clusters')),
    ...(tunnel === undefined ? {} : { tunnelingHostname: tunnel }),
  };
}

export function parseNetworkFilter(message: Json): NetworkFilter {
  const { name, extension, config } = extensionOf(message);
  const base = { name, extension };
  if (extension === 'http_connection_manager') return { ...base, kind: 'http', manager: parseHttpConnectionManager(config) };
  if (extension === 'tcp_proxy') return { ...base, kind: 'tcp', proxy: parseTcpProxy(config) };
  if (extension === 'rbac') return { ...base, kind: 'rbac', rbac: parseRbac(config) };
  if (extension === 'set_filter_state') return { ...base, kind: setsCluster(config) ? 'unknown' : 'passive' };
  for (const kind of ['passive', 'may-close', 'terminal', 'sni-cluster'] as const) if (kinds[kind].has(extension)) return { ...base, kind };
  return { ...base, kind: 'unknown' };
}
