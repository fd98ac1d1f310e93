/** Small configurations for tests, written the way /config_dump prints them. */
import { type EnvoyConfig, parseConfigDump } from '../../src/envoy/config.ts';

export type Message = { [field: string]: unknown };

const TYPE = 'type.googleapis.com/envoy';

/** A time on the tests' day, `HH:MM:SS[.mmm]`. */
export function at(time: string): string {
  return `2026-11-23T${time}Z`;
}

export function ms(time: string): number {
  return Date.parse(at(time));
}

export function tcpProxy(cluster: string): Message {
  return {
    name: 'envoy.filters.network.tcp_proxy',
    typed_config: { '@type': `${TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy`, stat_prefix: cluster, cluster },
  };
}

export function httpManager(routes: { rds: string } | { inline: Message }, more: Message = {}, filters: Message[] = []): Message {
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': `${TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: 'test',
      ...('rds' in routes ? { rds: { route_config_name: routes.rds } } : { route_config: routes.inline }),
      http_filters: [
        ...filters,
        { name: 'envoy.filters.http.router', typed_config: { '@type': `${TYPE}.extensions.filters.http.router.v3.Router` } },
      ],
      ...more,
    },
  };
}

export function httpFilter(name: string, type: string, config: Message = {}): Message {
  return { name: `envoy.filters.http.${name}`, typed_config: { '@type': `${TYPE}.extensions.filters.http.${name}.v3.${type}`, ...config } };
}

export function inspector(kind: 'tls' | 'http', more: Message = {}): Message {
  const type = kind === 'tls' ? 'TlsInspector' : 'HttpInspector';
  return {
    name: `envoy.filters.listener.${kind}_inspector`,
    typed_config: { '@type': `${TYPE}.extensions.filters.listener.${kind}_inspector.v3.${type}` },
    ...more,
  };
}

export function address(text: string): Message {
  const colon = text.lastIndexOf(':');
  return { socket_address: { address: text.slice(0, colon).replace(/[[\]]/g, ''), port_value: Number(text.slice(colon + 1)) } };
}

/** A listener with one chain that holds one filter, unless told otherwise. */
export function listener(name: string, where: string, more: Message = {}): Message {
  return { name, address: address(where), filter_chains: [{ filters: [tcpProxy(`cluster of ${name}`)] }], ...more };
}

export interface Parts {
  listeners?: Message[];
  /** Each with `draining` or `lastUpdated` of its own. */
  dynamic?: { listener: Message; lastUpdated: string; state?: 'active' | 'warming' | 'draining' }[];
  clusters?: Message[];
  /** When all clusters were last updated. */
  clusterUpdated?: string;
  /** Endpoints `ip:port` by cluster; a leading `-` marks an unhealthy one, `N/` a priority. */
  endpoints?: { [cluster: string]: string[] };
  routes?: { config: Message; lastUpdated?: string }[];
}

function endpoint(text: string): { priority: number; lb: Message } {
  const m = /^(?:(\d)\/)?(-?)(.+)$/.exec(text)!;
  return {
    priority: Number(m[1] ?? 0),
    lb: { endpoint: { address: address(m[3]!) }, health_status: m[2] === '-' ? 'UNHEALTHY' : 'HEALTHY' },
  };
}

/** Everything was last updated at 06:00:00 unless told otherwise; read at 06:10:00. */
export function makeConfig(parts: Parts, readAt = '06:10:00'): EnvoyConfig {
  return parseConfigDump(makeDump(parts), { readAt: at(readAt) });
}

/** The same as /config_dump prints it. */
export function makeDump(parts: Parts): { configs: Message[] } {
  const last_updated = at('06:00:00');
  const configs: Message[] = [];
  const names = new Map<string, Message[]>();
  for (const entry of parts.dynamic ?? []) {
    const name = String(entry.listener.name);
    names.set(name, [
      ...(names.get(name) ?? []),
      { [`${entry.state ?? 'active'}_state`]: { last_updated: at(entry.lastUpdated), listener: entry.listener } },
    ]);
  }
  configs.push({
    '@type': `${TYPE}.admin.v3.ListenersConfigDump`,
    dynamic_listeners: [
      ...(parts.listeners ?? []).map((one) => ({ name: one.name, active_state: { last_updated, listener: one } })),
      ...[...names].map(([name, states]) => Object.assign({ name }, ...states)),
    ],
  });
  if (parts.clusters !== undefined)
    configs.push({
      '@type': `${TYPE}.admin.v3.ClustersConfigDump`,
      dynamic_active_clusters: parts.clusters.map((cluster) => ({
        cluster,
        last_updated: parts.clusterUpdated === undefined ? last_updated : at(parts.clusterUpdated),
      })),
    });
  if (parts.endpoints !== undefined)
    configs.push({
      '@type': `${TYPE}.admin.v3.EndpointsConfigDump`,
      dynamic_endpoint_configs: Object.entries(parts.endpoints).map(([cluster_name, list]) => ({
        endpoint_config: { cluster_name, endpoints: list.map(endpoint).map(({ priority, lb }) => ({ priority, lb_endpoints: [lb] })) },
      })),
    });
  if (parts.routes !== undefined)
    configs.push({
      '@type': `${TYPE}.admin.v3.RoutesConfigDump`,
      dynamic_route_configs: parts.routes.map(({ config, lastUpdated }) => ({
        route_config: config,
        last_updated: lastUpdated === undefined ? last_updated : at(lastUpdated),
      })),
    });
  return { configs };
}
