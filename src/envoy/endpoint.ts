/** Endpoints of a cluster: what EDS sent, and what /clusters tells of them. Source: envoy/config/endpoint/v3/{endpoint,endpoint_components}.proto, envoy/admin/v3/clusters.proto. */
import { formatEndpoint } from '../net/address.ts';
import { type EnvoyAddress, formatAddress, parseAddress } from './address.ts';
import { booleanAt, type Json, numberAt, objectAt, objectsAt, textAt } from './json.ts';

export type Health = 'HEALTHY' | 'UNHEALTHY' | 'DEGRADED' | 'DRAINING' | 'TIMEOUT' | 'UNKNOWN';

export interface Endpoint {
  readonly address: EnvoyAddress;
  /** `ip:port` where bytes go in the end; of an internal address what lies behind it. '' when it is no socket. */
  readonly target: string;
  readonly hostname: string;
  readonly health: Health;
  readonly weight: number;
  readonly priority: number;
  /** `region/zone/sub_zone`, as far as set. */
  readonly locality: string;
  /** Istio's `workload;namespace;canonical name;canonical revision;cluster`, when known. */
  readonly workload: string;
  /** `envoy.transport_socket_match` metadata: with `tlsMode: istio` the endpoint has a sidecar that takes mutual TLS. */
  readonly transportSocketMatch: Json;
  /** `envoy.lb` metadata, by which subsets choose. */
  readonly subsetMetadata: Json;
}

/** Counters of one endpoint in /clusters, where they were read. */
export interface HostStatus {
  readonly target: string;
  readonly hostname: string;
  readonly health: Health;
  readonly failedActiveHealthCheck: boolean;
  readonly failedOutlierCheck: boolean;
  readonly priority: number;
  readonly locality: string;
  readonly weight: number;
  /** cx_active, cx_connect_fail, cx_total, rq_error, rq_success, rq_timeout, rq_total, … */
  readonly counters: { readonly [name: string]: number };
}

const healths = new Set<string>(['HEALTHY', 'UNHEALTHY', 'DEGRADED', 'DRAINING', 'TIMEOUT']);

export function parseHealth(text: string | undefined): Health {
  return text !== undefined && healths.has(text) ? (text as Health) : 'UNKNOWN';
}

/** Would Envoy send requests there outside of a panic? No health known counts as healthy. */
export function isUsable(health: Health): boolean {
  return health === 'HEALTHY' || health === 'UNKNOWN' || health === 'DEGRADED';
}

function parseLocality(message: Json | undefined): string {
  return ['region', 'zone', 'sub_zone']
    .map((name) => textAt(message, name) ?? '')
    .join('/')
    .replace(/\/+$/, '');
}

function targetOf(address: EnvoyAddress): string {
  if (address.kind === 'socket') return formatEndpoint(address.host, address.port);
  return address.kind === 'internal' ? address.endpointId : '';
}

function parseEndpoint(message: Json, priority: number, locality: string): Endpoint {
  const endpoint = objectAt(message, 'endpoint');
  const address = parseAddress(objectAt(endpoint, 'address'));
  const metadata = objectAt(objectAt(message, 'metadata'), 'filter_metadata');
  return {
    address,
    target: targetOf(address),
    hostname: textAt(endpoint, 'hostname') ?? '',
    health: parseHealth(textAt(message, 'health_status')),
    weight: numberAt(message, 'load_balancing_weight') ?? 1,
    priority,
    locality,
    workload: textAt(objectAt(metadata, 'istio'), 'workload') ?? '',
    transportSocketMatch: objectAt(metadata, 'envoy.transport_socket_match') ?? {},
    subsetMetadata: objectAt(metadata, 'envoy.lb') ?? {},
  };
}

/** All endpoints of a `ClusterLoadAssignment`, in its order. */
export function parseEndpoints(assignment: Json | undefined): Endpoint[] {
  return objectsAt(assignment, 'endpoints').flatMap((group) => {
    const priority = numberAt(group, 'priority') ?? 0;
    const locality = parseLocality(objectAt(group, 'locality'));
    return objectsAt(group, 'lb_endpoints').map((endpoint) => parseEndpoint(endpoint, priority, locality));
  });
}

/** The hosts of a cluster of API v2's `hosts`. */
export function parseOldHosts(cluster: Json): Endpoint[] {
  return objectsAt(cluster, 'hosts').map((address) => parseEndpoint({ endpoint: { address } }, 0, ''));
}

/** One entry of `cluster_statuses[].host_statuses[]`. */
export function parseHostStatus(message: Json): HostStatus {
  const address = parseAddress(objectAt(message, 'address'));
  const status = objectAt(message, 'health_status');
  const counters: { [name: string]: number } = {};
  for (const stat of objectsAt(message, 'stats')) {
    const name = textAt(stat, 'name');
    if (name !== undefined) counters[name] = numberAt(stat, 'value') ?? 0;
  }
  return {
    target: targetOf(address) || formatAddress(address),
    hostname: textAt(message, 'hostname') ?? '',
    health: parseHealth(textAt(status, 'eds_health_status')),
    failedActiveHealthCheck: booleanAt(status, 'failed_active_health_check') ?? false,
    failedOutlierCheck: booleanAt(status, 'failed_outlier_check') ?? false,
    priority: numberAt(message, 'priority') ?? 0,
    locality: parseLocality(objectAt(message, 'locality')),
    weight: numberAt(message, 'weight') ?? 1,
    counters,
  };
}

/** An endpoint as /clusters shows it, for dumps that were read without `include_eds`. */
export function endpointOfStatus(message: Json): Endpoint {
  const status = parseHostStatus(message);
  const endpoint = parseEndpoint(
    { endpoint: { address: objectAt(message, 'address'), hostname: status.hostname }, load_balancing_weight: status.weight },
    status.priority,
    status.locality,
  );
  return { ...endpoint, health: status.failedActiveHealthCheck || status.failedOutlierCheck ? 'UNHEALTHY' : status.health };
}
