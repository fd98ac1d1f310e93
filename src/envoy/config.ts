/**
 * The configuration of one Envoy at one time, as its admin port prints it.
 *
 * In      the text (or value) of /config_dump, whole or `?resource=…`, with or without `include_eds`, from API v2 and v3; then /clusters and /server_info where they were read.
 * Out     an {@link EnvoyConfig}: named resources with state, version and time, each read when first asked for.
 * Not     judges nothing: connection.ts and request.ts do. Keeps no private key.
 * Source  envoy/admin/v3/config_dump_shared.proto, config_dump.proto; admin/v2alpha for older ones.
 */
import { type Bootstrap, parseBootstrap, parseServerInfo, type ServerInfo } from './bootstrap.ts';
import { BuiltValues } from './built-values.ts';
import { parseSecret, type Secret } from './certificate.ts';
import { CLUSTER_HEAD, type Cluster, type ClusterHead, parseClusterHead } from './cluster.ts';
import { type Endpoint, endpointOfStatus, type HostStatus, parseEndpoints, parseHostStatus } from './endpoint.ts';
import { EnvoyConfigError, type Json, objectsAt, parseTimeMs, shortType } from './json.ts';
import { describeJson, type JsonInput, JsonPart, readJson, rootOf } from './json-part.ts';
import type { Listener } from './listener.ts';
import { listenerHead } from './listener-index.ts';
import {
  assignmentOf,
  clusterLists,
  clustersOf,
  endpointLists,
  listenerLists,
  listenersOf,
  type Resource,
  routeLists,
  routesOf,
} from './resource.ts';
import { parseRouteConfig, type RouteConfig } from './route-config.ts';

export { EnvoyConfigError } from './json.ts';
export type { Resource, ResourceState } from './resource.ts';

/** A resource that Envoy refused. */
export interface RejectedResource {
  readonly kind: 'listener' | 'cluster' | 'route' | 'endpoint';
  readonly name: string;
  readonly details: string;
  readonly lastAttemptMs?: number;
}

/** Where the clusters of one configuration may connect to. */
export interface EndpointTargets {
  /** By `ip:port`. */
  readonly clusters: ReadonlyMap<string, readonly Resource<Cluster>[]>;
  /** Is there no cluster whose endpoints nobody told? */
  readonly complete: boolean;
}

export type SectionName = 'bootstrap' | 'clusters' | 'endpoints' | 'listeners' | 'routes' | 'scoped-routes' | 'secrets';

export interface ConfigMeta {
  /** When it was read, RFC 3339. */
  readonly readAt: string;
  /** Where built resources are kept; one for several configurations keeps them all within one bound. */
  readonly built?: BuiltValues;
}

/** Resources that were found while a dump was taken apart. */
export interface FoundResources {
  readonly listeners: readonly Resource<Listener>[];
  readonly clusterList: readonly Resource<Cluster>[];
  /** The same by name. */
  readonly clusters: ReadonlyMap<string, readonly Resource<Cluster>[]>;
  readonly routes: readonly Resource<RouteConfig>[];
  /** Endpoints by the name that EDS knows a cluster by. */
  readonly assignments: ReadonlyMap<string, JsonPart>;
}

/** One part of a dump: as it stands in the text, or made of entries that were printed alone. */
export interface Section {
  readonly part: JsonPart | undefined;
  readonly lists: ReadonlyMap<string, readonly JsonPart[]>;
}

/** By the short name of their type. */
export const sectionTypes: { readonly [type: string]: SectionName } = {
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
const MAX_PARTS = 100_000;
const MAX_TARGETS = 1_000_000;

/** What is read of the bootstrap and of /server_info. */
const BOOTSTRAP_FIELDS = ['node', 'admin'];
const SERVER_INFO_FIELDS = ['version', 'state', 'uptime_all_epochs', 'command_line_options', 'node'];

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

/** Resources of the same name together, in their order. */
export function byName<T>(resources: readonly Resource<T>[]): Map<string, Resource<T>[]> {
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
  readonly #sections: ReadonlyMap<SectionName, readonly Section[]>;
  readonly #statuses: ReadonlyMap<string, JsonPart> | undefined;
  readonly #built: BuiltValues;
  readonly serverInfo: ServerInfo | undefined;
  #listeners: readonly Resource<Listener>[] | undefined;
  #clusters: ReadonlyMap<string, readonly Resource<Cluster>[]> | undefined;
  #routes: readonly Resource<RouteConfig>[] | undefined;
  #routesByName: Map<string, Resource<RouteConfig>[]> | undefined;
  #assignments: ReadonlyMap<string, JsonPart> | undefined;
  #targets: EndpointTargets | undefined;
  #bootstrap: Bootstrap | undefined;
  readonly #inlineRoutes = new WeakMap<Json, RouteConfig>();

  readonly #found: FoundResources | undefined;
  /** Bytes of text that came with it and were not there before; 0 unknown. */
  readonly weight: number;

  constructor(
    sections: ReadonlyMap<SectionName, readonly Section[]>,
    meta: ConfigMeta,
    more: {
      statuses?: ReadonlyMap<string, JsonPart> | undefined;
      serverInfo?: ServerInfo | undefined;
      /** What is in the sections, where their lists are not there any more. */
      found?: FoundResources | undefined;
      weight?: number;
    } = {},
  ) {
    this.#sections = sections;
    this.#built = meta.built ?? new BuiltValues();
    this.readAt = meta.readAt;
    this.readAtMs = parseTimeMs(meta.readAt) ?? Number.NaN;
    this.#statuses = more.statuses;
    this.serverInfo = more.serverInfo;
    this.#found = more.found;
    this.weight = more.weight ?? 0;
    this.#listeners = more.found?.listeners;
    this.#clusters = more.found?.clusters;
    this.#routes = more.found?.routes;
    this.#assignments = more.found?.assignments;
  }

  /** Was this part read at all? A part that was not is unknown, not empty. */
  has(section: SectionName): boolean {
    return this.#sections.has(section);
  }

  /** What a builder found; absent of a configuration that was read in one. */
  get found(): FoundResources | undefined {
    return this.#found;
  }

  #with(more: { statuses?: ReadonlyMap<string, JsonPart>; serverInfo?: ServerInfo | undefined; readAt?: string }): EnvoyConfig {
    const { readAt = this.readAt, ...parts } = more;
    return new EnvoyConfig(
      this.#sections,
      { readAt, built: this.#built },
      { statuses: this.#statuses, serverInfo: this.serverInfo, found: this.#found, weight: this.weight, ...parts },
    );
  }

  /** The same as it was found again at another time. */
  readAgain(readAt: string): EnvoyConfig {
    return this.#with({ readAt });
  }

  /** The same with what /clusters?format=json told. */
  withClusters(statuses: ReadonlyMap<string, JsonPart>): EnvoyConfig {
    return this.#with({ statuses });
  }

  withServerInfo(serverInfo: ServerInfo | undefined): EnvoyConfig {
    return this.#with({ serverInfo });
  }

  #entries(section: SectionName, list: string): JsonPart[] {
    return (this.#sections.get(section) ?? []).flatMap(({ part, lists }) => lists.get(list) ?? part?.fields.objects(list) ?? []);
  }

  /** The version of the whole listener or cluster set, '' unknown. */
  versionOf(section: SectionName): string {
    const versions = (this.#sections.get(section) ?? []).map(({ part }) => part?.fields.text('version_info') ?? '');
    return versions.find((version) => version !== '') ?? '';
  }

  get bootstrap(): Bootstrap {
    if (this.#bootstrap === undefined) {
      const message = this.#sections.get('bootstrap')?.[0]?.part?.fields.object('bootstrap');
      this.#bootstrap = parseBootstrap(message?.fields.pick(BOOTSTRAP_FIELDS) ?? {});
    }
    return this.#bootstrap;
  }

  /** How long old listeners drain, in milliseconds; absent unknown. */
  get drainMs(): number | undefined {
    return this.serverInfo?.drainMs ?? this.bootstrap.drainMs;
  }

  /** All listeners in all states, static first. */
  get listeners(): readonly Resource<Listener>[] {
    const maker = { built: this.#built };
    this.#listeners ??= listenerLists.flatMap((list) =>
      this.#entries('listeners', list).flatMap((entry) => listenersOf(maker, list, entry)),
    );
    return this.#listeners;
  }

  get clusters(): ReadonlyMap<string, readonly Resource<Cluster>[]> {
    const maker = { built: this.#built };
    this.#clusters ??= byName(
      clusterLists.flatMap(([list, state]) => this.#entries('clusters', list).flatMap((entry) => clustersOf(maker, state, entry))),
    );
    return this.#clusters;
  }

  /** Route configurations: those of RDS, and the inline ones as Envoy lists them (`static`). */
  get routes(): readonly Resource<RouteConfig>[] {
    const maker = { built: this.#built };
    this.#routes ??= routeLists.flatMap(([list, state]) => this.#entries('routes', list).flatMap((entry) => routesOf(maker, state, entry)));
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
    const told = this.#toldOf(cluster);
    if (told === undefined) return this.#untold(cluster, () => cluster.endpoints);
    const { assignment, status } = told;
    return this.#built.get(
      assignment !== undefined && status !== undefined ? pairOf(assignment, status) : (assignment ?? status)!,
      () => readEndpoints(assignment, status),
      () => (assignment?.values ?? 0) + (status?.values ?? 0),
    );
  }

  /** What EDS and /clusters tell of a cluster. */
  #toldOf(cluster: ClusterHead): { assignment: JsonPart | undefined; status: JsonPart | undefined } | undefined {
    this.#assignments ??= this.#readAssignments();
    const assignment = this.#assignments.get(cluster.edsName) ?? this.#assignments.get(cluster.name);
    const status = this.#statuses?.get(cluster.name);
    return assignment === undefined && status === undefined ? undefined : { assignment, status };
  }

  #untold({ type }: ClusterHead, own: () => readonly Endpoint[]): readonly Endpoint[] | undefined {
    if (type === 'STATIC') return own();
    return this.has('endpoints') && type === 'EDS' ? [] : undefined;
  }

  #readAssignments(): Map<string, JsonPart> {
    const found = new Map<string, JsonPart>();
    for (const list of endpointLists)
      for (const entry of this.#entries('endpoints', list)) {
        const assignment = assignmentOf({}, entry);
        if (assignment !== undefined) found.set(assignment.name, assignment.part);
      }
    return found;
  }

  /** Makes what is asked for first, a little at a time: between two steps there may be other work. */
  *prepare(): Generator<void> {
    for (const resource of this.listeners) {
      listenerHead(resource);
      yield;
    }
    this.#targets ??= yield* this.#readTargets();
  }

  /** All addresses that any cluster may connect to. */
  get targets(): EndpointTargets {
    const steps = this.#readTargets();
    while (this.#targets === undefined) {
      const step = steps.next();
      if (step.done === true) this.#targets = step.value;
    }
    return this.#targets;
  }

  *#readTargets(): Generator<void, EndpointTargets> {
    const clusters = new Map<string, Resource<Cluster>[]>();
    let complete = true;
    for (const resources of this.clusters.values())
      for (const resource of resources) {
        yield;
        const head = parseClusterHead(resource.pick(CLUSTER_HEAD));
        // Looked at once each: what was built for connections is not to give way to all of them.
        const told = this.#toldOf(head);
        const endpoints =
          told === undefined ? this.#untold(head, () => resource.value.endpoints) : readEndpoints(told.assignment, told.status);
        if (endpoints === undefined) {
          // An original-destination cluster has none of its own: it goes where the captured connection went.
          if (head.type !== 'ORIGINAL_DST') complete = false;
          continue;
        }
        for (const { target } of endpoints) {
          const list = clusters.get(target);
          if (list === undefined) {
            if (clusters.size >= MAX_TARGETS) complete = false;
            else clusters.set(target, [resource]);
          } else if (list.at(-1) !== resource) list.push(resource);
        }
      }
    return { clusters, complete };
  }

  /** Per-host health and counters of /clusters; empty when it was not read. */
  hostStatuses(cluster: string): HostStatus[] {
    return objectsAt(this.#statuses?.get(cluster)?.build(), 'host_statuses').map(parseHostStatus);
  }

  get secrets(): Secret[] {
    const lists = [
      ['static_secrets', 'static'],
      ['dynamic_active_secrets', 'active'],
      ['dynamic_warming_secrets', 'warming'],
    ] as const;
    return lists.flatMap(([list, state]) => this.#entries('secrets', list).map((entry) => parseSecret(entry.build(), state)));
  }

  /** What Envoy refused, with its words. */
  get rejected(): RejectedResource[] {
    const [section] = [...this.#sections.values()].flat();
    const part = section?.part ?? [...(section?.lists.values() ?? [])][0]?.[0];
    if (this.#found === undefined && part?.textMentions('error_state') === false && !part.textMentions('errorState')) return [];
    const lists = [
      ['listeners', 'dynamic_listeners', 'listener'],
      ['clusters', 'dynamic_active_clusters', 'cluster'],
      ['clusters', 'dynamic_warming_clusters', 'cluster'],
      ['routes', 'dynamic_route_configs', 'route'],
      ['endpoints', 'dynamic_endpoint_configs', 'endpoint'],
    ] as const;
    return lists.flatMap(([section, list, kind]) =>
      this.#entries(section, list).flatMap((entry): RejectedResource[] => {
        const fields = entry.fields;
        const error = fields.object('error_state')?.fields;
        if (error === undefined) return [];
        const at = parseTimeMs(error.text('last_update_attempt'));
        const failed = error.object('failed_configuration')?.fields;
        const name = fields.text('name') ?? failed?.text('name') ?? fields.object(kind)?.fields.text('name') ?? '';
        return [{ kind, name, details: error.text('details') ?? '', ...(at === undefined ? {} : { lastAttemptMs: at }) }];
      }),
    );
  }
}

const pairs = new WeakMap<JsonPart, WeakMap<JsonPart, object>>();

/** What stands for two parts: either of them may stand beside others elsewhere. */
function pairOf(one: JsonPart, other: JsonPart): object {
  let ofOne = pairs.get(one);
  if (ofOne === undefined) {
    ofOne = new WeakMap();
    pairs.set(one, ofOne);
  }
  let pair = ofOne.get(other);
  if (pair === undefined) {
    pair = {};
    ofOne.set(other, pair);
  }
  return pair;
}

function readEndpoints(assignment: JsonPart | undefined, status: JsonPart | undefined): readonly Endpoint[] {
  const hosts = status === undefined ? [] : objectsAt(status.build(), 'host_statuses');
  if (assignment === undefined) return hosts.map(endpointOfStatus);
  const endpoints = parseEndpoints(assignment.build());
  if (hosts.length === 0) return endpoints;
  const failed = new Set(
    hosts
      .map(parseHostStatus)
      .filter((host) => host.failedActiveHealthCheck || host.failedOutlierCheck)
      .map((host) => host.target),
  );
  return endpoints.map((endpoint) => (failed.has(endpoint.target) ? { ...endpoint, health: 'UNHEALTHY' as const } : endpoint));
}

function pushTo<K, T>(map: Map<K, T[]>, key: K, item: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [item]);
  else list.push(item);
}

const noLists: ReadonlyMap<string, readonly JsonPart[]> = new Map();

/**
 * Reads a /config_dump. Only its shape is looked at; its resources are read when they are asked for.
 *
 * @param input its text, the bytes of its text, or the value parsed from it
 * @throws {EnvoyConfigError} when it is no JSON, no dump, or larger than can be read
 */
export function parseConfigDump(input: JsonInput, meta: ConfigMeta): EnvoyConfig {
  const text = readJson(input, { what: 'an Envoy config_dump', unitDepth: 5 });
  const root = rootOf(text)?.fields;
  if (root === undefined || !root.isList('configs'))
    throw new EnvoyConfigError(
      `Cannot read an Envoy config_dump: an object with a list "configs" is wanted, ${describeJson(text)} is there`,
    );
  const sections = new Map<SectionName, Section[]>();
  const unknown: string[] = [];
  const alone = new Map<string, JsonPart[]>();
  let count = 0;
  for (const part of root.items('configs')) {
    if (++count > MAX_PARTS)
      throw new EnvoyConfigError(`Cannot read an Envoy config_dump: at most ${MAX_PARTS} parts are read, it holds more`);
    const type = part instanceof JsonPart ? shortType(part.fields.text('@type') ?? '') : '';
    const section = Object.hasOwn(sectionTypes, type) ? sectionTypes[type] : undefined;
    if (typeof part === 'string') {
      if (unknown.length < MAX_SHOWN) unknown.push(part);
    } else if (section !== undefined) pushTo(sections, section, { part, lists: noLists });
    else if (Object.hasOwn(entryTypes, type)) {
      part.checkUnit();
      pushTo(alone, type, part);
    } else if (unknown.length < MAX_SHOWN) unknown.push(type);
  }
  for (const [type, parts] of alone) {
    const entry = entryTypes[type]!;
    pushTo(sections, entry.section, { part: undefined, lists: new Map([[entry.list, parts]]) });
  }
  if (sections.size === 0)
    throw new EnvoyConfigError(
      `Cannot read an Envoy config_dump: parts such as ListenersConfigDump are wanted in "configs", ${unknown.length === 0 ? 'none are' : `"${unknown.join('", "').slice(0, 200)}" is`} there`,
      'configs',
    );
  return new EnvoyConfig(sections, meta);
}

/**
 * Reads /clusters?format=json: one entry for each cluster, by its name.
 *
 * @throws {EnvoyConfigError} when it is something else
 */
export function parseClusters(input: JsonInput): ReadonlyMap<string, JsonPart> {
  const text = readJson(input, { what: "Envoy's /clusters", unitDepth: 3 });
  const root = rootOf(text)?.fields;
  if (root === undefined || !root.isList('cluster_statuses'))
    throw new EnvoyConfigError(
      `Cannot read Envoy's /clusters: an object with a list "cluster_statuses" is wanted (?format=json), ${describeJson(text)} is there`,
    );
  const statuses = new Map<string, JsonPart>();
  for (const status of root.objects('cluster_statuses')) {
    const name = status.fields.text('name');
    if (name !== undefined) statuses.set(name, status);
  }
  return statuses;
}

/**
 * Adds endpoints, health and counters from /clusters?format=json.
 *
 * @throws {EnvoyConfigError} when it is something else
 */
export function addClusters(config: EnvoyConfig, input: JsonInput): EnvoyConfig {
  return config.withClusters(parseClusters(input));
}

/**
 * Adds what /server_info tells.
 *
 * @throws {EnvoyConfigError} when it is something else
 */
export function addServerInfo(config: EnvoyConfig, input: JsonInput): EnvoyConfig {
  const text = readJson(input, { what: "Envoy's /server_info", unitDepth: 1 });
  const info = parseServerInfo(rootOf(text)?.fields.pick(SERVER_INFO_FIELDS));
  if (info === undefined)
    throw new EnvoyConfigError(`Cannot read Envoy's /server_info: an object with "version" is wanted, ${describeJson(text)} is there`);
  return config.withServerInfo(info);
}
