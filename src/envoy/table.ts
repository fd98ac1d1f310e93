/** Envoy's configuration as rows of plain values, to be printed as tables or JSON. Names that are missing are ''; times are RFC 3339. */
import { formatIp } from '../net/address.ts';
import { formatAddress } from './address.ts';
import type { Certificate } from './certificate.ts';
import type { EnvoyConfig, ResourceState } from './config.ts';
import { terminalFilter } from './connection.ts';
import type { FilterChain, FilterChainMatch } from './filter-chain.ts';
import type { Listener } from './listener.ts';
import type { RouteAction, RouteConfig } from './route-config.ts';

export interface ListenerRow {
  listener: string;
  addresses: string;
  direction: string;
  state: ResourceState;
  /** `socket`, `hand-over` (no socket of its own), or `internal`. */
  reached: 'socket' | 'hand-over' | 'internal';
  filters: string;
  chains: number;
  version: string;
  lastUpdated: string;
}

export interface ChainRow {
  listener: string;
  chain: string;
  /** -1 is the default filter chain. */
  index: number;
  match: string;
  tls: string;
  filters: string;
  /** `route NAME`, `inline route NAME`, `cluster NAME`, or the filter that ends the chain. */
  destination: string;
}

export interface RouteRow {
  routeConfig: string;
  virtualHost: string;
  domains: string;
  route: string;
  match: string;
  destination: string;
  retries: number;
  mirrors: string;
}

export interface ClusterRow {
  cluster: string;
  type: string;
  state: ResourceState;
  /** Absent when no endpoints were read. */
  endpoints?: number;
  healthy?: number;
  /** What Envoy sends upstream, when it uses TLS. */
  serverNames: string;
  version: string;
  lastUpdated: string;
}

export interface EndpointRow {
  cluster: string;
  endpoint: string;
  health: string;
  priority: number;
  weight: number;
  locality: string;
  workload: string;
  transport: 'tls' | 'plaintext' | 'unknown';
  connections?: number;
  connectFailures?: number;
  requests?: number;
  errors?: number;
}

export interface CertificateRow {
  role: string;
  serialNumber: string;
  names: string;
  validFrom: string;
  expires: string;
  daysLeft?: number;
}

export interface RejectedRow {
  kind: string;
  name: string;
  details: string;
  at: string;
}

function timeText(ms: number | undefined): string {
  if (ms === undefined || !Number.isFinite(ms) || Math.abs(ms) > 8.64e15) return '';
  return new Date(ms).toISOString();
}

export function listenerRows(config: EnvoyConfig): ListenerRow[] {
  return config.listeners.map(({ name, state, value, version, lastUpdatedMs }) => ({
    listener: name,
    addresses: value.addresses.map(formatAddress).join(','),
    direction: value.trafficDirection === 'UNSPECIFIED' ? '' : value.trafficDirection.toLowerCase(),
    state,
    reached: value.internal ? 'internal' : value.bindToPort ? 'socket' : 'hand-over',
    filters: [
      ...(value.useOriginalDst ? ['use_original_dst'] : []),
      ...value.listenerFilters.map((filter) => (filter.kind === 'other' ? filter.name : filter.kind)),
    ].join(','),
    chains: value.filterChains.length + (value.defaultFilterChain === undefined ? 0 : 1),
    version,
    lastUpdated: timeText(lastUpdatedMs),
  }));
}

/** The criteria of a chain in words; `any` when it has none. */
export function describeMatch(match: FilterChainMatch): string {
  const words = [
    ...(match.destinationPort === undefined ? [] : [`port ${match.destinationPort}`]),
    ...match.prefixRanges.map((range) => `address ${formatIp(range)}/${range.prefix}`),
    ...match.serverNames.map((name) => `SNI ${name.startsWith('.') ? `*${name}` : name}`),
    ...(match.transportProtocol === '' ? [] : [`transport ${match.transportProtocol}`]),
    ...(match.applicationProtocols.length === 0 ? [] : [`protocol ${match.applicationProtocols.join(',')}`]),
    ...match.directSourcePrefixRanges.map((range) => `direct source ${formatIp(range)}/${range.prefix}`),
    ...(match.sourceType === 'ANY' ? [] : [`source type ${match.sourceType}`]),
    ...match.sourcePrefixRanges.map((range) => `source ${formatIp(range)}/${range.prefix}`),
    ...match.sourcePorts.map((port) => `source port ${port}`),
  ];
  return words.length === 0 ? 'any' : words.join('; ');
}

/** Where a chain leads, in words. */
export function describeChainEnd(chain: FilterChain): string {
  const last = terminalFilter(chain);
  if (last === undefined) return chain.filters.at(-1)?.name ?? 'nothing';
  if (last.kind === 'tcp')
    return last.proxy.weighted.length > 0
      ? last.proxy.weighted.map((cluster) => `${cluster.weight} cluster ${cluster.name}`).join(', ')
      : `cluster ${last.proxy.cluster ?? '?'}`;
  if (last.kind !== 'http') return last.name;
  const { routes } = last.manager;
  if (routes.kind === 'rds') return `route ${routes.name}`;
  return routes.kind === 'inline' ? `inline route ${String(routes.message.name ?? '')}`.trim() : `${routes.kind} routes`;
}

const chainsOf = (listener: Listener) => [
  ...listener.filterChains,
  ...(listener.defaultFilterChain === undefined ? [] : [listener.defaultFilterChain]),
];

/** Chains of the listeners in service, in Envoy's order, the default chain last. */
export function chainRows(config: EnvoyConfig, only?: string): ChainRow[] {
  return config.listeners
    .filter(({ name, state }) => (state === 'active' || state === 'static') && (only === undefined || name === only))
    .flatMap(({ name, value }) =>
      chainsOf(value).map((chain) => ({
        listener: name,
        chain: chain.name,
        index: chain.index,
        match: chain.index === -1 ? 'default' : describeMatch(chain.match),
        tls: chain.tls,
        filters: chain.filters.map((filter) => filter.name).join(','),
        destination: describeChainEnd(chain),
      })),
    );
}

function describeAction(action: RouteAction): string {
  switch (action.kind) {
    case 'cluster':
      return `cluster ${action.cluster}`;
    case 'weighted':
      return action.clusters.map((cluster) => `${cluster.weight} cluster ${cluster.name}`).join(', ');
    case 'cluster-header':
      return `cluster named by header ${action.header}`;
    case 'direct-response':
      return `answer ${action.status}`;
    case 'redirect':
      return 'redirect';
    case 'unknown':
      return 'unknown';
  }
}

function rowsOfRoutes(config: RouteConfig): RouteRow[] {
  return config.virtualHosts.flatMap((host) =>
    host.routes.map((route) => ({
      routeConfig: config.name,
      virtualHost: host.name,
      domains: host.domains.join(','),
      route: route.name,
      match: route.match.text,
      destination: describeAction(route.action),
      retries: route.retries,
      mirrors: route.mirrors.map((mirror) => mirror.cluster).join(','),
    })),
  );
}

/** Routes of RDS and those in listeners, in the order in which they are tried. */
export function routeRows(config: EnvoyConfig, only?: string): RouteRow[] {
  return config.routes.filter(({ name }) => only === undefined || name === only).flatMap(({ value }) => rowsOfRoutes(value));
}

export function clusterRows(config: EnvoyConfig): ClusterRow[] {
  return [...config.clusters.values()].flat().map(({ name, state, value, version, lastUpdatedMs }) => {
    const endpoints = value.type === 'ORIGINAL_DST' ? undefined : config.endpointsOf(value);
    return {
      cluster: name,
      type: value.type,
      state,
      ...(endpoints === undefined
        ? {}
        : {
            endpoints: endpoints.length,
            healthy: endpoints.filter((endpoint) => endpoint.health === 'HEALTHY' || endpoint.health === 'UNKNOWN').length,
          }),
      serverNames: value.serverNames.join(','),
      version,
      lastUpdated: timeText(lastUpdatedMs),
    };
  });
}

export function endpointRows(config: EnvoyConfig, only?: string): EndpointRow[] {
  const rows: EndpointRow[] = [];
  for (const resources of config.clusters.values())
    for (const { name, state, value } of resources) {
      if (state === 'warming' || (only !== undefined && name !== only)) continue;
      const counters = new Map(config.hostStatuses(name).map((host) => [host.target, host.counters]));
      for (const endpoint of config.endpointsOf(value) ?? []) {
        const of = counters.get(endpoint.target);
        const { tls } = value.transportFor(endpoint.transportSocketMatch);
        rows.push({
          cluster: name,
          endpoint: formatAddress(endpoint.address),
          health: endpoint.health,
          priority: endpoint.priority,
          weight: endpoint.weight,
          locality: endpoint.locality,
          workload: endpoint.workload,
          transport: tls === 'unknown' ? 'unknown' : tls ? 'tls' : 'plaintext',
          ...(of === undefined
            ? {}
            : {
                connections: of.cx_total ?? 0,
                connectFailures: of.cx_connect_fail ?? 0,
                requests: of.rq_total ?? 0,
                errors: of.rq_error ?? 0,
              }),
        });
      }
    }
  return rows;
}

export function certificateRows(certificates: readonly Certificate[]): CertificateRow[] {
  return certificates.map((certificate) => ({
    role: certificate.role,
    serialNumber: certificate.serialNumber,
    names: certificate.subjectAltNames.join(','),
    validFrom: timeText(certificate.validFromMs),
    expires: timeText(certificate.expiresMs),
    ...(certificate.daysUntilExpiration === undefined ? {} : { daysLeft: certificate.daysUntilExpiration }),
  }));
}

export function rejectedRows(config: EnvoyConfig): RejectedRow[] {
  return config.rejected.map(({ kind, name, details, lastAttemptMs }) => ({ kind, name, details, at: timeText(lastAttemptMs) }));
}
