/** Route configurations, virtual hosts and routes. Source: envoy/config/route/v3/{route,route_components}.proto. */
import { parseFraction } from './fraction.ts';
import { asObject, booleanAt, field, type Json, numberAt, objectAt, objectsAt, shortType, textAt, textsAt } from './json.ts';
import { parseRouteMatch, type RouteMatch } from './route-match.ts';
import type { Three } from './three-valued.ts';
import { parseWeightedClusters, type WeightedCluster } from './weighted-cluster.ts';

export interface MirrorPolicy {
  readonly cluster: string;
  /** Is every request mirrored? Unknown when only a share is. */
  readonly share: Three;
}

export type RouteAction =
  | { readonly kind: 'cluster'; readonly cluster: string }
  | { readonly kind: 'weighted'; readonly clusters: readonly WeightedCluster[] }
  | { readonly kind: 'cluster-header'; readonly header: string }
  | { readonly kind: 'redirect' }
  | { readonly kind: 'direct-response'; readonly status: number }
  /** A specifier plugin, `non_forwarding_action`, `filter_action`: we cannot tell. */
  | { readonly kind: 'unknown' };

export interface Route {
  /** '' when it has none. */
  readonly name: string;
  /** Place within the virtual host, from 0. */
  readonly index: number;
  readonly match: RouteMatch;
  readonly action: RouteAction;
  readonly mirrors: readonly MirrorPolicy[];
  readonly retries: number;
  /** Status for a cluster that does not exist. */
  readonly clusterNotFoundStatus: number;
  /** Metadata that chooses a subset of the cluster's endpoints (`envoy.lb`). */
  readonly subset?: Json;
  readonly hasCors: boolean;
  /** Per-filter configuration by filter name. */
  readonly perFilter: Json;
}

export interface VirtualHost {
  readonly name: string;
  /** Lower case. */
  readonly domains: readonly string[];
  readonly routes: readonly Route[];
  readonly requireTls: 'NONE' | 'EXTERNAL_ONLY' | 'ALL';
  /** Routes are chosen by a unified matcher. */
  readonly hasMatcher: boolean;
  readonly perFilter: Json;
}

export interface RouteConfig {
  readonly name: string;
  readonly virtualHosts: readonly VirtualHost[];
  readonly ignorePortInHostMatching: boolean;
  /** Virtual hosts that come one by one (VHDS) are not all here. */
  readonly onDemand: boolean;
  readonly perFilter: Json;
}

function parseAction(message: Json): RouteAction {
  if (objectAt(message, 'redirect') !== undefined) return { kind: 'redirect' };
  const direct = objectAt(message, 'direct_response');
  if (direct !== undefined) return { kind: 'direct-response', status: numberAt(direct, 'status') ?? 0 };
  const route = objectAt(message, 'route');
  const cluster = textAt(route, 'cluster');
  if (cluster !== undefined) return { kind: 'cluster', cluster };
  const weighted = objectAt(route, 'weighted_clusters');
  if (weighted !== undefined) return { kind: 'weighted', clusters: parseWeightedClusters(weighted) };
  const header = textAt(route, 'cluster_header');
  return header === undefined ? { kind: 'unknown' } : { kind: 'cluster-header', header: header.toLowerCase() };
}

function parseMirrors(route: Json | undefined): MirrorPolicy[] {
  const older = objectAt(route, 'request_mirror_policy');
  return [...objectsAt(route, 'request_mirror_policies'), ...(older === undefined ? [] : [older])]
    .map((policy): MirrorPolicy => {
      const fraction = objectAt(policy, 'runtime_fraction');
      return {
        cluster: textAt(policy, 'cluster') ?? '',
        share: fraction === undefined ? true : parseFraction(objectAt(fraction, 'default_value')),
      };
    })
    .filter((policy) => policy.share !== false);
}

const notFoundStatuses: { readonly [name: string]: number } = { NOT_FOUND: 404, INTERNAL_SERVER_ERROR: 500 };

function perFilterConfig(message: Json): Json {
  return objectAt(message, 'typed_per_filter_config') ?? objectAt(message, 'per_filter_config') ?? {};
}

function parseRoute(message: Json, index: number): Route {
  const route = objectAt(message, 'route');
  const subset = objectAt(objectAt(objectAt(route, 'metadata_match'), 'filter_metadata'), 'envoy.lb');
  return {
    name: textAt(message, 'name') ?? '',
    index,
    match: parseRouteMatch(objectAt(message, 'match')),
    action: parseAction(message),
    mirrors: parseMirrors(route),
    retries: numberAt(objectAt(route, 'retry_policy'), 'num_retries') ?? (objectAt(route, 'retry_policy') === undefined ? 0 : 1),
    clusterNotFoundStatus: notFoundStatuses[textAt(route, 'cluster_not_found_response_code') ?? ''] ?? 503,
    ...(subset === undefined ? {} : { subset }),
    hasCors: objectAt(route, 'cors') !== undefined || field(perFilterConfig(message), 'envoy.filters.http.cors') !== undefined,
    perFilter: perFilterConfig(message),
  };
}

function parseVirtualHost(message: Json): VirtualHost {
  const tls = textAt(message, 'require_tls');
  let routes: Route[] | undefined;
  return {
    name: textAt(message, 'name') ?? '',
    domains: textsAt(message, 'domains').map((domain) => domain.toLowerCase()),
    // Most virtual hosts of a large configuration are never asked for their routes.
    get routes() {
      routes ??= objectsAt(message, 'routes').map(parseRoute);
      return routes;
    },
    requireTls: tls === 'ALL' || tls === 'EXTERNAL_ONLY' ? tls : 'NONE',
    hasMatcher: objectAt(message, 'matcher') !== undefined,
    perFilter: perFilterConfig(message),
  };
}

export function parseRouteConfig(message: Json): RouteConfig {
  return {
    name: textAt(message, 'name') ?? '',
    virtualHosts: objectsAt(message, 'virtual_hosts').map(parseVirtualHost),
    ignorePortInHostMatching: booleanAt(message, 'ignore_port_in_host_matching') ?? false,
    onDemand: objectAt(message, 'vhds') !== undefined,
    perFilter: perFilterConfig(message),
  };
}

/** The configuration that the most specific of route, virtual host and route configuration gives a filter. */
export function perFilterFor(name: string, route: Route, host: VirtualHost, config: RouteConfig): Json | undefined {
  for (const { perFilter } of [route, host, config]) {
    const own = asObject(field(perFilter, name));
    if (own === undefined) continue;
    // A wrapper that may also switch the filter off.
    const wrapped = shortType(textAt(own, '@type') ?? '') === 'FilterConfig' ? objectAt(own, 'config') : undefined;
    return wrapped === undefined ? own : { ...wrapped, disabled: booleanAt(own, 'disabled') ?? false };
  }
  return undefined;
}
