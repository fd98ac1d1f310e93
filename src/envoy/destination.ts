/**
 * Where a cluster sends a connection: its endpoints as they stood, or the original destination.
 * Source: source/common/upstream/{upstream_impl,load_balancer_impl}.cc, source/extensions/clusters/original_dst/.
 */
import { canonicalIp, formatEndpoint, parseEndpoint } from '../net/address.ts';
import type { Reason } from '../record/reason.ts';
import type { Outcome } from '../record/record.ts';
import type { Cluster } from './cluster.ts';
import { type Endpoint, isUsable } from './endpoint.ts';
import type { RequestHeaders } from './header-matcher.ts';
import type { EnvoyHistory } from './history.ts';
import type { Json } from './json.ts';

export interface Destination {
  /** `ip:port` that the balancer would choose from; `undefined` when they are not known. */
  readonly targets: readonly string[] | undefined;
  /** All endpoints, also those that the balancer would pass over; `undefined` when any address is possible. */
  readonly members: readonly string[] | undefined;
  /** The grade is weak: health changes, or the list does. */
  readonly doubtful: boolean;
  readonly originalDestination: boolean;
  /** SNIs that the upstream connection may carry. */
  readonly serverNames: readonly string[];
}

export interface ClusterVerdict {
  readonly outcome: Outcome;
  readonly destination?: Destination;
  /** The cluster's name stands, but whether it existed and what it held then is not known. */
  readonly endDoubt?: Reason;
}

/** What the original destination of a connection, and a request's header, say. */
export interface DestinationInput {
  readonly atMs: number;
  readonly local: { readonly ip: string; readonly port: number } | undefined;
  readonly headers?: RequestHeaders;
  readonly subset?: Json;
}

const anywhere: Destination = { targets: undefined, members: undefined, doubtful: false, originalDestination: false, serverNames: [] };
const OVERPROVISIONING = 1.4;
const MAX_CHILDREN_DEPTH = 4;

function toOriginal(cluster: Cluster, input: DestinationInput): Destination {
  const unknown = { ...anywhere, originalDestination: true, serverNames: cluster.serverNames };
  if (cluster.originalDstOther) return unknown;
  let at = input.local;
  if (cluster.originalDstHeader !== '') {
    const header = input.headers?.find(cluster.originalDstHeader) ?? { known: true };
    if (!header.known) return unknown;
    if (header.text !== undefined) at = parseEndpoint(header.text);
  }
  if (at === undefined) return unknown;
  const target = formatEndpoint(canonicalIp(at.ip) ?? at.ip, cluster.originalDstPort ?? at.port);
  return { targets: [target], members: [target], doubtful: false, originalDestination: true, serverNames: cluster.serverNames };
}

/** The endpoints that get traffic: the first priorities that together have enough healthy ones; all of a priority in panic. */
function balanced(endpoints: readonly Endpoint[], panicThreshold: number): readonly Endpoint[] {
  const priorities = [...new Set(endpoints.map((endpoint) => endpoint.priority))].sort((a, b) => a - b);
  const chosen: Endpoint[] = [];
  let load = 0;
  for (const priority of priorities) {
    const group = endpoints.filter((endpoint) => endpoint.priority === priority);
    const usable = group.filter((endpoint) => isUsable(endpoint.health));
    const share = usable.length / group.length;
    chosen.push(...(share * 100 < panicThreshold ? group : usable));
    load += share * OVERPROVISIONING;
    if (load >= 1) break;
  }
  return chosen;
}

function inSubset(endpoint: Endpoint, subset: Json): boolean {
  return Object.entries(subset).every(([key, value]) => endpoint.subsetMetadata[key] === value);
}

function toEndpoints(history: EnvoyHistory, cluster: Cluster, input: DestinationInput): ClusterVerdict {
  const all = history.endpointsAt(cluster, input.atMs);
  if (
    all === undefined ||
    all.some((endpoint) => endpoint.target === '' || (endpoint.address.kind === 'socket' && endpoint.address.ip === undefined))
  )
    return { outcome: 'forwarded', destination: { ...anywhere, serverNames: cluster.serverNames } };
  if (all.length === 0) return { outcome: cluster.name === 'BlackHoleCluster' ? 'black-hole' : 'no-endpoint' };
  const subset = cluster.hasSubsets && input.subset !== undefined ? input.subset : undefined;
  const fitting = subset === undefined ? all : all.filter((endpoint) => inSubset(endpoint, subset));
  const chosen = balanced(fitting.length === 0 ? all : fitting, cluster.panicThreshold);
  if (chosen.length === 0) return { outcome: 'no-endpoint' };
  const named = cluster.type === 'STRICT_DNS' || cluster.type === 'LOGICAL_DNS';
  return {
    outcome: 'forwarded',
    destination: {
      targets: [...new Set(chosen.map((endpoint) => endpoint.target))],
      // Names resolve to something else from time to time.
      members: named ? undefined : [...new Set(all.map((endpoint) => endpoint.target))],
      doubtful: (subset !== undefined && fitting.length === 0) || all.some((endpoint) => !isUsable(endpoint.health)),
      originalDestination: false,
      serverNames: cluster.serverNames,
    },
  };
}

function merged(parts: readonly Destination[]): Destination {
  const all = (lists: readonly (readonly string[] | undefined)[]) =>
    lists.includes(undefined) ? undefined : [...new Set(lists.flatMap((list) => list ?? []))];
  return {
    targets: all(parts.map((part) => part.targets)),
    members: all(parts.map((part) => part.members)),
    doubtful: true,
    originalDestination: false,
    serverNames: [...new Set(parts.flatMap((part) => part.serverNames))],
  };
}

/** What becomes of something that a route or a TCP proxy gives to the cluster of that name. */
export function resolveCluster(history: EnvoyHistory, name: string, input: DestinationInput, depth = 0): ClusterVerdict[] {
  const possible = history.clusterAt(name, input.atMs);
  if (possible.options.length === 0) return [{ outcome: 'forwarded', destination: anywhere }];
  return possible.options.map(({ resource }): ClusterVerdict => {
    const doubt = possible.doubt === undefined ? {} : { endDoubt: possible.doubt };
    if (resource === undefined) return { outcome: 'no-cluster', ...doubt };
    const cluster = resource.value;
    switch (cluster.type) {
      case 'ORIGINAL_DST':
        return { outcome: 'forwarded', destination: toOriginal(cluster, input), ...doubt };
      case 'DYNAMIC_FORWARD_PROXY':
      case 'OTHER':
        return { outcome: 'forwarded', destination: { ...anywhere, serverNames: cluster.serverNames }, ...doubt };
      case 'AGGREGATE': {
        const parts =
          depth >= MAX_CHILDREN_DEPTH
            ? [anywhere]
            : cluster.children
                .flatMap((child) => resolveCluster(history, child, input, depth + 1))
                .flatMap((verdict) => verdict.destination ?? []);
        return parts.length === 0 ? { outcome: 'no-endpoint', ...doubt } : { outcome: 'forwarded', destination: merged(parts), ...doubt };
      }
      default:
        return { ...toEndpoints(history, cluster, input), ...doubt };
    }
  });
}
