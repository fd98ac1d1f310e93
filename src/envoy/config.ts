/**
 * The configuration of one Envoy at one time, as its admin port prints it.
 *
 * In      the text (or value) of /config_dump, whole or `?resource=…`, with or without `include_eds`, from API v2 and v3; then /clusters and /server_info where they were read.
 * Out     an {@link EnvoyConfig}: named resources with state, version and time, each read when first asked for.
 * Not     judges nothing: connection.ts and request.ts do. Keeps no private key.
 * Source  envoy/admin/v3/config_dump_shared.proto, config_dump.proto; admin/v2alpha for older ones.
 */
import { type Bootstrap, parseBootstrap, parseServerInfo, type ServerInfo } from './bootstrap.ts';
import { parseSecrets, type Secret } from './certificate.ts';
import { type Cluster, parseCluster } from './cluster.ts';
import { type Endpoint, endpointOfStatus, type HostStatus, parseEndpoints, parseHostStatus } from './endpoint.ts';
import { asObject, EnvoyConfigError, type Json, objectAt, objectsAt, parseTimeMs, shortType, textAt } from './json.ts';
import { checkStructure } from './json-bounds.ts';
import { type Listener, parseListener } from './listener.ts';
import { parseRouteConfig, type RouteConfig } from './route-config.ts';

export { EnvoyConfigError } from './json.ts';

export type ResourceState = 'static' | 'active' | 'warming' | 'draining';

/** One version of one named thing. */
export interface Resource<T> {
  readonly name: string;
  readonly state: ResourceState;
  /** Milliseconds of the Unix epoch; absent when the dump does not tell. */
  readonly lastUpdatedMs?: number;
  readonly version: string;
  /** The message as printed. */
  readonly raw: Json;
  /** Read when first asked for. */
  readonly value: T;
}

/** A resource that Envoy refused. */
export interface RejectedResource {
  readonly kind: 'listener' | 'cluster' | 'route' | 'endpoint';
  readonly name: string;
  readonly details: string;
  readonly lastAttemptMs?: number;
}

export type SectionName = 'bootstrap' | 'clusters' | 'endpoints' | 'listeners' | 'routes' | 'scoped-routes' | 'secrets';

export interface ConfigMeta {
  /** When it was read, RFC 3339. */
  readonly readAt: string;
}

const sectionTypes: { readonly [type: string]: SectionName } = {
  BootstrapConfigDump: 'bootstrap',
  ClustersConfigDump: 'clusters',
  EndpointsConfigDump: 'endpoints',
  ListenersConfigDump: 'listeners',
  RoutesConfigDump: 'routes',
  ScopedRoutesConfigDump: 'scoped-routes',
  SecretsConfigDump: 'secrets',
};

/** So many strange parts are named in a message. */
const MAX_SHOWN = 3;

/** `?resource=` prints the entries of one list, each by its own type. */
const entryTypes: { readonly [type: string]: { readonly section: SectionName; readonly list: string } } = {
  StaticListener: { section: 'listeners', list: 'static_listeners' },
  DynamicListener: { section: 'listeners', list: 'dynamic_listeners' },
  StaticCluster: { section: 'clusters', list: 'static_clusters' },
  DynamicCluster: { section: 'clusters', list: 'dynamic_active_clusters' },
  StaticRouteConfig: { section: 'routes', list: 'static_route_configs' },
  DynamicRouteConfig: { section: 'routes', list: 'dynamic_route_configs' },
  StaticEndpointConfig: { section: 'endpoints', list: 'static_endpoint_configs' },
  DynamicEndpointConfig: { section: 'endpoints', list: 'dynamic_endpoint_configs' },
  StaticSecret: { section: 'secrets', list: 'static_secrets' },
  DynamicSecret: { section: 'secrets', list: 'dynamic_active_secrets' },
};

function lazy<T>(name: string, state: ResourceState, entry: Json, raw: Json, parse: (message: Json) => T): Resource<T> {
  const updated = parseTimeMs(textAt(entry, 'last_updated'));
  let value: { readonly it: T } | undefined;
  return {
    name,
    state,
    ...(updated === undefined ? {} : { lastUpdatedMs: updated }),
    version: textAt(entry, 'version_info') ?? '',
    raw,
    get value() {
      value ??= { it: parse(raw) };
      return value.it;
    },
  };
}

function byName<T>(resources: readonly Resource<T>[]): Map<string, Resource<T>[]> {
  const map = new Map<string, Resource<T>[]>();
  for (const resource of resources) {
    const list = map.get(resource.name);
    if (list === undefined) map.set(resource.name, [resource]);
    else list.push(resource);
  }
  return map;
}

export class EnvoyConfig {
  readonly readAt: string;
  /** Milliseconds of the Unix epoch; NaN when `readAt` is no time. */
  readonly readAtMs: number;
  readonly #sections: ReadonlyMap<SectionName, readonly Json[]>;
  readonly #statuses: ReadonlyMap<string, Json> | undefined;
  readonly serverInfo: ServerInfo | undefined;
  #listeners: readonly Resource<Listener>[] | undefined;
  #clusters: Map<string, Resource<Cluster>[]> | undefined;
  #routes: readonly Resource<RouteConfig>[] | undefined;
  #routesByName: Map<string, Resource<RouteConfig>[]> | undefined;
  #assignments: Map<string, Json> | undefined;
  #bootstrap: Bootstrap | undefined;
  readonly #inlineRoutes = new WeakMap<Json, RouteConfig>();
  readonly #endpoints = new Map<string, readonly Endpoint[]>();

  constructor(
    sections: ReadonlyMap<SectionName, readonly Json[]>,
    meta: ConfigMeta,
    more: { statuses?: ReadonlyMap<string, Json> | undefined; serverInfo?: ServerInfo | undefined } = {},
  ) {
    this.#sections = sections;
    this.readAt = meta.readAt;
    this.readAtMs = parseTimeMs(meta.readAt) ?? Number.NaN;
    this.#statuses = more.statuses;
    this.serverInfo = more.serverInfo;
  }

  /** Was this part read at all? A part that was not is unknown, not empty. */
  has(section: SectionName): boolean {
    return this.#sections.has(section);
  }

  /** The same with what /clusters?format=json told. */
  withClusters(statuses: ReadonlyMap<string, Json>): EnvoyConfig {
    return new EnvoyConfig(this.#sections, this, { statuses, serverInfo: this.serverInfo });
  }

  withServerInfo(serverInfo: ServerInfo | undefined): EnvoyConfig {
    return new EnvoyConfig(this.#sections, this, { statuses: this.#statuses, serverInfo });
  }

  #entries(section: SectionName, list: string): Json[] {
    return (this.#sections.get(section) ?? []).flatMap((part) => objectsAt(part, list));
  }

  /** The version of the whole listener or cluster set, '' unknown. */
  versionOf(section: SectionName): string {
    return (this.#sections.get(section) ?? []).map((part) => textAt(part, 'version_info') ?? '').find((version) => version !== '') ?? '';
  }

  get bootstrap(): Bootstrap {
    this.#bootstrap ??= parseBootstrap(objectAt(this.#sections.get('bootstrap')?.[0], 'bootstrap') ?? {});
    return this.#bootstrap;
  }

  /** How long old listeners drain, in milliseconds; absent unknown. */
  get drainMs(): number | undefined {
    return this.serverInfo?.drainMs ?? this.bootstrap.drainMs;
  }

  /** All listeners in all states, static first. */
  get listeners(): readonly Resource<Listener>[] {
    if (this.#listeners !== undefined) return this.#listeners;
    const found: Resource<Listener>[] = [];
    const add = (entry: Json, state: ResourceState, name?: string) => {
      const raw = objectAt(entry, 'listener');
      if (raw !== undefined) found.push(lazy(name ?? textAt(raw, 'name') ?? '', state, entry, raw, parseListener));
    };
    for (const entry of this.#entries('listeners', 'static_listeners')) add(entry, 'static');
    for (const entry of this.#entries('listeners', 'dynamic_listeners'))
      for (const state of ['active', 'warming', 'draining'] as const) {
        const part = objectAt(entry, `${state}_state`);
        if (part !== undefined) add(part, state, textAt(entry, 'name'));
      }
    for (const state of ['active', 'warming', 'draining'] as const)
      for (const entry of this.#entries('listeners', `dynamic_${state}_listeners`)) add(entry, state);
    this.#listeners = found;
    return found;
  }

  get clusters(): ReadonlyMap<string, readonly Resource<Cluster>[]> {
    if (this.#clusters !== undefined) return this.#clusters;
    const lists = [
      ['static_clusters', 'static'],
      ['dynamic_active_clusters', 'active'],
      ['dynamic_warming_clusters', 'warming'],
    ] as const;
    const found = lists.flatMap(([list, state]) =>
      this.#entries('clusters', list).flatMap((entry) => {
        const raw = objectAt(entry, 'cluster');
        return raw === undefined ? [] : [lazy(textAt(raw, 'name') ?? '', state, entry, raw, parseCluster)];
      }),
    );
    this.#clusters = byName(found);
    return this.#clusters;
  }

  /** Route configurations: those of RDS, and the inline ones as Envoy lists them (`static`). */
  get routes(): readonly Resource<RouteConfig>[] {
    this.#routes ??= (
      [
        ['static_route_configs', 'static'],
        ['dynamic_route_configs', 'active'],
      ] as const
    ).flatMap(([list, state]) =>
      this.#entries('routes', list).flatMap((entry) => {
        const raw = objectAt(entry, 'route_config');
        return raw === undefined ? [] : [lazy(textAt(raw, 'name') ?? '', state, entry, raw, parseRouteConfig)];
      }),
    );
    return this.#routes;
  }

  /** The RDS route configuration of that name. */
  findRoutes(name: string): Resource<RouteConfig> | undefined {
    this.#routesByName ??= byName(this.routes.filter((resource) => resource.state === 'active'));
    return this.#routesByName.get(name)?.[0];
  }

  /** The route configuration that stands in a listener itself. */
  inlineRoutes(message: Json): RouteConfig {
    let config = this.#inlineRoutes.get(message);
    if (config === undefined) {
      config = parseRouteConfig(message);
      this.#inlineRoutes.set(message, config);
    }
    return config;
  }

  /**
   * The endpoints of a cluster: those of EDS, else those of /clusters, else those written in the cluster.
   *
   * @returns `undefined` when nothing tells them: no endpoints were read
   */
  endpointsOf(cluster: Cluster): readonly Endpoint[] | undefined {
    const known = this.#endpoints.get(cluster.name);
    if (known !== undefined) return known;
    const found = this.#findEndpoints(cluster);
    if (found !== undefined) this.#endpoints.set(cluster.name, found);
    return found;
  }

  #findEndpoints(cluster: Cluster): readonly Endpoint[] | undefined {
    this.#assignments ??= this.#readAssignments();
    const assignment = this.#assignments.get(cluster.edsName) ?? this.#assignments.get(cluster.name);
    const status = this.#statuses?.get(cluster.name);
    const hosts = objectsAt(status, 'host_statuses');
    if (assignment === undefined) {
      if (status !== undefined) return hosts.map(endpointOfStatus);
      if (cluster.type === 'STATIC') return cluster.endpoints;
      return this.has('endpoints') && cluster.type === 'EDS' ? [] : undefined;
    }
    const endpoints = parseEndpoints(assignment);
    if (hosts.length === 0) return endpoints;
    const failed = new Set(
      hosts
        .map(parseHostStatus)
        .filter((host) => host.failedActiveHealthCheck || host.failedOutlierCheck)
        .map((host) => host.target),
    );
    return endpoints.map((endpoint) => (failed.has(endpoint.target) ? { ...endpoint, health: 'UNHEALTHY' as const } : endpoint));
  }

  #readAssignments(): Map<string, Json> {
    const found = new Map<string, Json>();
    for (const list of ['static_endpoint_configs', 'dynamic_endpoint_configs'])
      for (const entry of this.#entries('endpoints', list)) {
        const assignment = objectAt(entry, 'endpoint_config');
        const name = textAt(assignment, 'cluster_name');
        if (assignment !== undefined && name !== undefined) found.set(name, assignment);
      }
    return found;
  }

  /** Per-host health and counters of /clusters; empty when it was not read. */
  hostStatuses(cluster: string): HostStatus[] {
    return objectsAt(this.#statuses?.get(cluster), 'host_statuses').map(parseHostStatus);
  }

  get secrets(): Secret[] {
    return (this.#sections.get('secrets') ?? []).flatMap(parseSecrets);
  }

  /** What Envoy refused, with its words. */
  get rejected(): RejectedResource[] {
    const lists = [
      ['listeners', 'dynamic_listeners', 'listener'],
      ['clusters', 'dynamic_active_clusters', 'cluster'],
      ['clusters', 'dynamic_warming_clusters', 'cluster'],
      ['routes', 'dynamic_route_configs', 'route'],
      ['endpoints', 'dynamic_endpoint_configs', 'endpoint'],
    ] as const;
    return lists.flatMap(([section, list, kind]) =>
      this.#entries(section, list).flatMap((entry): RejectedResource[] => {
        const error = objectAt(entry, 'error_state');
        if (error === undefined) return [];
        const at = parseTimeMs(textAt(error, 'last_update_attempt'));
        const failed = objectAt(error, 'failed_configuration');
        const name = textAt(entry, 'name') ?? textAt(failed, 'name') ?? textAt(objectAt(entry, kind), 'name') ?? '';
        return [{ kind, name, details: textAt(error, 'details') ?? '', ...(at === undefined ? {} : { lastAttemptMs: at }) }];
      }),
    );
  }
}

function parseJson(text: string, what: string): unknown {
  checkStructure(text, what);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new EnvoyConfigError(`Cannot read ${what}: JSON is wanted, ${(error as Error).message}`);
  }
}

function pushTo<K>(map: Map<K, Json[]>, key: K, message: Json): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [message]);
  else list.push(message);
}

function shown(value: unknown): string {
  return value === null
    ? 'null'
    : Array.isArray(value)
      ? 'a list'
      : typeof value === 'object'
        ? `an object with ${
            Object.keys(value)
              .slice(0, 5)
              .map((key) => `"${key.slice(0, 40)}"`)
              .join(', ') || 'nothing in it'
          }`
        : `a ${typeof value}`;
}

/**
 * Reads a /config_dump.
 *
 * @param input its text, or the value parsed from it
 * @throws {EnvoyConfigError} when it is no JSON, no dump, or larger than can be read
 */
export function parseConfigDump(input: string | object, meta: ConfigMeta): EnvoyConfig {
  const value = typeof input === 'string' ? parseJson(input, 'an Envoy config_dump') : input;
  const configs = asObject(value)?.configs;
  if (!Array.isArray(configs))
    throw new EnvoyConfigError(`Cannot read an Envoy config_dump: an object with a list "configs" is wanted, ${shown(value)} is there`);
  const sections = new Map<SectionName, Json[]>();
  const unknown: string[] = [];
  const entries = new Map<string, Json[]>();
  for (const part of configs) {
    const message = asObject(part);
    const type = shortType(textAt(message, '@type') ?? '');
    const section = Object.hasOwn(sectionTypes, type) ? sectionTypes[type] : undefined;
    const entry = Object.hasOwn(entryTypes, type) ? entryTypes[type] : undefined;
    if (message === undefined) {
      if (unknown.length < MAX_SHOWN) unknown.push(shown(part));
    } else if (section !== undefined) pushTo(sections, section, message);
    else if (entry !== undefined) pushTo(entries, type, message);
    else if (unknown.length < MAX_SHOWN) unknown.push(type);
  }
  for (const [type, list] of entries) {
    const entry = entryTypes[type]!;
    pushTo(sections, entry.section, { [entry.list]: list });
  }
  if (sections.size === 0)
    throw new EnvoyConfigError(
      `Cannot read an Envoy config_dump: parts such as ListenersConfigDump are wanted in "configs", ${unknown.length === 0 ? 'none are' : `"${unknown.join('", "').slice(0, 200)}" is`} there`,
      'configs',
    );
  return new EnvoyConfig(sections, meta);
}

/**
 * Adds endpoints, health and counters from /clusters?format=json.
 *
 * @throws {EnvoyConfigError} when it is something else
 */
export function addClusters(config: EnvoyConfig, input: string | object): EnvoyConfig {
  const value = typeof input === 'string' ? parseJson(input, "Envoy's /clusters") : input;
  const list = asObject(value)?.cluster_statuses ?? asObject(value)?.clusterStatuses;
  if (!Array.isArray(list))
    throw new EnvoyConfigError(
      `Cannot read Envoy's /clusters: an object with a list "cluster_statuses" is wanted (?format=json), ${shown(value)} is there`,
    );
  const statuses = new Map<string, Json>();
  for (const status of list.map(asObject)) {
    const name = textAt(status, 'name');
    if (status !== undefined && name !== undefined) statuses.set(name, status);
  }
  return config.withClusters(statuses);
}

/**
 * Adds what /server_info tells.
 *
 * @throws {EnvoyConfigError} when it is something else
 */
export function addServerInfo(config: EnvoyConfig, input: string | object): EnvoyConfig {
  const info = parseServerInfo(typeof input === 'string' ? parseJson(input, "Envoy's /server_info") : input);
  if (info === undefined)
    throw new EnvoyConfigError(`Cannot read Envoy's /server_info: an object with "version" is wanted, ${shown(input)} is there`);
  return config.withServerInfo(info);
}
