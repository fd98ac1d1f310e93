/**
 * Resources of a dump: an entry of a list of the dump holds the message of one, its version, and when it came.
 *
 * Source: envoy/admin/v3/config_dump_shared.proto; admin/v2alpha for the lists of older ones.
 */
import type { BuiltValues } from './built-values.ts';
import { type Cluster, parseCluster } from './cluster.ts';
import { type Json, parseTimeMs } from './json.ts';
import type { JsonPart } from './json-part.ts';
import { type Listener, parseListener } from './listener.ts';
import { parseRouteConfig, type RouteConfig } from './route-config.ts';

export type ResourceState = 'static' | 'active' | 'warming' | 'draining';

/** One version of one named thing. */
export interface Resource<T> {
  readonly name: string;
  readonly state: ResourceState;
  /** Milliseconds of the Unix epoch; absent when the dump does not tell. */
  readonly lastUpdatedMs?: number;
  readonly version: string;
  /** Read when first asked for. */
  readonly value: T;
  /** Fields of the message, without reading the others. */
  pick(names: readonly string[]): Json;
  /** Is it the same version, kept as the same text? Two of the same text that are kept apart are not. */
  isSame(other: Resource<T>): boolean;
}

/** A resource that is read when it is asked for. There may be very many of them. */
class LazyResource<T> implements Resource<T> {
  readonly name: string;
  readonly state: ResourceState;
  readonly lastUpdatedMs?: number;
  readonly version: string;
  readonly #message: JsonPart;
  readonly #kind: ResourceKind<T>;
  readonly #built: BuiltValues;

  constructor(
    about: { name: string; state: ResourceState; version: string; lastUpdatedMs: number | undefined },
    message: JsonPart,
    kind: ResourceKind<T>,
    built: BuiltValues,
  ) {
    this.name = about.name;
    this.state = about.state;
    if (about.lastUpdatedMs !== undefined) this.lastUpdatedMs = about.lastUpdatedMs;
    this.version = about.version;
    this.#message = message;
    this.#kind = kind;
    this.#built = built;
  }

  get value(): T {
    const message = this.#message;
    return this.#built.get(
      message,
      () => this.#kind.parse(message.build()),
      () => message.values,
    );
  }

  pick(names: readonly string[]): Json {
    return this.#message.fields.pick(names);
  }

  isSame(other: Resource<T>): boolean {
    return (
      other instanceof LazyResource &&
      other.#message === this.#message &&
      other.name === this.name &&
      other.state === this.state &&
      other.version === this.version &&
      other.lastUpdatedMs === this.lastUpdatedMs
    );
  }
}

interface ResourceKind<T> {
  /** The field of an entry that holds the message. */
  readonly field: MessageField;
  readonly parse: (message: Json) => T;
}

/** Where the message stands in an entry. */
export type MessageField = 'listener' | 'cluster' | 'route_config' | 'endpoint_config';

const listenerKind: ResourceKind<Listener> = { field: 'listener', parse: parseListener };
const clusterKind: ResourceKind<Cluster> = { field: 'cluster', parse: parseCluster };
const routeKind: ResourceKind<RouteConfig> = { field: 'route_config', parse: parseRouteConfig };

/** How resources are made. */
export interface ResourceMaker {
  readonly built: BuiltValues;
  /** A part that stands for this one from now on: the same of another text, maybe. Parts for different fields are never the same. */
  readonly keep?: (message: JsonPart, field: MessageField) => JsonPart;
}

/** The resource of an entry; of an entry that does not hold one, nothing. */
function lazy<T>(
  { built, keep }: ResourceMaker,
  state: ResourceState,
  entry: JsonPart,
  kind: ResourceKind<T>,
  called?: string,
): Resource<T>[] {
  const fields = entry.fields;
  const message = fields.object(kind.field);
  if (message === undefined) return [];
  const about = {
    name: called ?? message.fields.text('name') ?? '',
    state,
    version: fields.text('version_info') ?? '',
    lastUpdatedMs: parseTimeMs(fields.text('last_updated')),
  };
  return [new LazyResource(about, keep?.(message, kind.field) ?? message, kind, built)];
}

const listenerStates = ['active', 'warming', 'draining'] as const;

/** Lists of clusters and of route configurations, each with the state of what is in it. */
export const clusterLists: readonly (readonly [list: string, state: ResourceState])[] = [
  ['static_clusters', 'static'],
  ['dynamic_active_clusters', 'active'],
  ['dynamic_warming_clusters', 'warming'],
];
export const routeLists: readonly (readonly [list: string, state: ResourceState])[] = [
  ['static_route_configs', 'static'],
  ['dynamic_route_configs', 'active'],
];
/** Static ones first; the last three are those of older Envoys. */
export const listenerLists: readonly string[] = [
  'static_listeners',
  'dynamic_listeners',
  ...listenerStates.map((state) => `dynamic_${state}_listeners`),
];
export const endpointLists: readonly string[] = ['static_endpoint_configs', 'dynamic_endpoint_configs'];

/** The listeners of an entry: one, or one for each of its states. */
export function listenersOf(maker: ResourceMaker, list: string, entry: JsonPart): Resource<Listener>[] {
  if (list === 'static_listeners') return lazy(maker, 'static', entry, listenerKind);
  const old = listenerStates.find((state) => list === `dynamic_${state}_listeners`);
  if (old !== undefined) return lazy(maker, old, entry, listenerKind);
  const fields = entry.fields;
  return listenerStates.flatMap((state) => {
    const part = fields.object(`${state}_state`);
    return part === undefined ? [] : lazy(maker, state, part, listenerKind, fields.text('name'));
  });
}

export function clustersOf(maker: ResourceMaker, state: ResourceState, entry: JsonPart): Resource<Cluster>[] {
  return lazy(maker, state, entry, clusterKind);
}

export function routesOf(maker: ResourceMaker, state: ResourceState, entry: JsonPart): Resource<RouteConfig>[] {
  return lazy(maker, state, entry, routeKind);
}

/** The endpoints of one cluster, by the name that EDS knows it by. */
export function assignmentOf({ keep }: Pick<ResourceMaker, 'keep'>, entry: JsonPart): { name: string; part: JsonPart } | undefined {
  const part = entry.fields.object('endpoint_config');
  const name = part?.fields.text('cluster_name');
  return part === undefined || name === undefined ? undefined : { name, part: keep?.(part, 'endpoint_config') ?? part };
}
