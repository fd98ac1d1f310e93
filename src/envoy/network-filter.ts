/** Network filters of a chain. Source: envoy/extensions/filters/network/. */
import { type HttpConnectionManager, parseHttpConnectionManager } from './http-connection-manager.ts';
import { type Json, objectAt, objectsAt, textAt, typedConfig } from './json.ts';
import { parseRbac, type Rbac } from './rbac.ts';
import { parseWeightedClusters, type WeightedCluster } from './weighted-cluster.ts';

export interface TcpProxy {
  readonly cluster?: string;
  readonly weighted: readonly WeightedCluster[];
  /** `host:port` of the CONNECT request that the bytes travel in. */
  readonly tunnelingHostname?: string;
}

export type NetworkFilter = { readonly name: string; readonly type: string } & (
  | { readonly kind: 'http'; readonly manager: HttpConnectionManager }
  | { readonly kind: 'tcp'; readonly proxy: TcpProxy }
  | { readonly kind: 'rbac'; readonly rbac: Rbac }
  /** The SNI names the cluster. */
  | { readonly kind: 'sni-cluster' }
  /** Looks on: statistics, protocol decoders in front of a proxy. */
  | { readonly kind: 'passive' }
  /** Ends the chain by itself: Redis, Thrift, Dubbo, echo, direct response. */
  | { readonly kind: 'terminal' }
  /** May close the connection or send it elsewhere. */
  | { readonly kind: 'unknown' }
);

const passiveFilters = new Set([
  'MySQLProxy', 'MongoProxy', 'PostgresProxy', 'ZooKeeperProxy', 'KafkaBroker', 'MetadataExchange', 'ClientSSLAuth', 'ConnectionLimit', 'RateLimit', 'LocalRateLimit',
  'envoy.filters.network.mysql_proxy', 'envoy.filters.network.mongo_proxy', 'envoy.mongo_proxy', 'envoy.filters.network.postgres_proxy', 'envoy.filters.network.zookeeper_proxy',
  'envoy.filters.network.kafka_broker', 'envoy.filters.network.metadata_exchange', 'istio.metadata_exchange', 'istio.stats', 'istio_authn', 'mixer', 'forward_downstream_sni',
  'envoy.filters.network.upstream.metadata_exchange', 'PluginConfig', 'envoy.filters.network.istio_stats',
]); // biome-ignore format: a list
const terminalFilters = new Set([
  'RedisProxy',
  'ThriftProxy',
  'DubboProxy',
  'Echo',
  'Config',
  'GenericProxy',
  'RocketmqProxy',
  'SipProxy',
  'envoy.redis_proxy',
  'envoy.echo',
  'envoy.filters.network.redis_proxy',
  'envoy.filters.network.thrift_proxy',
  'envoy.filters.network.dubbo_proxy',
  'envoy.filters.network.echo',
  'envoy.filters.network.direct_response',
]);

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
  const name = textAt(message, 'name') ?? '';
  const { type, config } = typedConfig(message);
  const base = { name, type };
  if (type === 'HttpConnectionManager' || (type === '' && name.endsWith('http_connection_manager')))
    return { ...base, kind: 'http', manager: parseHttpConnectionManager(config) };
  if (type === 'TcpProxy' || (type === '' && name.endsWith('tcp_proxy'))) return { ...base, kind: 'tcp', proxy: parseTcpProxy(config) };
  if (type === 'RBAC' || name === 'envoy.filters.network.rbac') return { ...base, kind: 'rbac', rbac: parseRbac(config) };
  if (type === 'SniCluster' || name.endsWith('.sni_cluster')) return { ...base, kind: 'sni-cluster' };
  if (passiveFilters.has(name) || passiveFilters.has(type)) return { ...base, kind: 'passive' };
  if (terminalFilters.has(name) || terminalFilters.has(type)) return { ...base, kind: 'terminal' };
  return { ...base, kind: 'unknown' };
}
