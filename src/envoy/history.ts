/**
 * The configuration of one Envoy over time, from several snapshots: which version of a thing held at a moment.
 *
 * A version held from its `last_updated` to at least the reading that shows it. Before that the reading before it counts, or a draining version that the same reading shows.
 * Where nothing tells, the nearest version is given with the reason for doubt. Times are milliseconds of the Unix epoch.
 */
import type { Reason } from '../record/reason.ts';
import type { Cluster } from './cluster.ts';
import type { EnvoyConfig, Resource, SectionName } from './config.ts';
import type { Endpoint } from './endpoint.ts';
import type { Listener } from './listener.ts';
import { listenerIndex, listenerKey } from './listener-index.ts';
import type { RouteConfig } from './route-config.ts';

/** A version that may have held, with the reading that shows it; no resource: there was none. */
export interface Held<T> {
  readonly resource: Resource<T> | undefined;
  readonly config: EnvoyConfig;
}

export interface Possible<T> {
  /** At least one; more when the moment cannot be told apart from a change. */
  readonly options: readonly Held<T>[];
  /** Why even these are in doubt. */
  readonly doubt?: Reason;
}

/** Workers take a new version a moment after it was received: its listeners warm first. */
const WARMING_MS = 250;
/** Clocks of packets and of Envoy are the same; stamps are cut to milliseconds. */
const EARLY_MS = 5;

/** Envoy's own drain time where nothing tells another (Istio sets 45 s). Source: `--drain-time-s`. */
const DEFAULT_DRAIN_MS = 600_000;

/** Connections name ports at will: remembered for so many. */
const MAX_PORTS = 4096;

interface Timeline<T> {
  /** By reading; what was in service, if anything. */
  readonly active: readonly (Resource<T> | undefined)[];
  readonly draining: readonly (readonly Resource<T>[])[];
}

const updatedMs = (resource: Resource<unknown>) => resource.lastUpdatedMs ?? Number.NEGATIVE_INFINITY;

export class EnvoyHistory {
  /** By time of reading, oldest first. */
  readonly configs: readonly EnvoyConfig[];
  /** By port, then by name. */
  readonly #listeners = new Map<number, readonly Timeline<Listener>[]>();
  readonly #clusters = new Map<string, Timeline<Cluster>>();
  readonly #routes = new Map<string, Timeline<RouteConfig>>();

  /** @param configs readings of one Envoy, at least one @throws {RangeError} when there is none */
  constructor(configs: readonly EnvoyConfig[]) {
    if (configs.length === 0) throw new RangeError('Cannot make a history of no configuration: at least one is wanted');
    this.configs = [...configs].sort((a, b) => this.#readMs(a) - this.#readMs(b) || 0);
  }

  /** A reading without a time counts as made after everything. */
  #readMs(config: EnvoyConfig): number {
    return Number.isNaN(config.readAtMs) ? Number.MAX_VALUE : config.readAtMs;
  }

  /** Was this part ever read? */
  has(section: SectionName): boolean {
    return this.configs.some((config) => config.has(section));
  }

  /** The reading nearest to a moment: the first at or after it, else the last. */
  nearest(atMs: number): EnvoyConfig {
    return this.configs.find((config) => this.#readMs(config) >= atMs) ?? this.configs.at(-1)!;
  }

  /** The newest reading at or before the moment, and the oldest after it. */
  around(atMs: number): EnvoyConfig[] {
    const before = this.configs.filter((config) => this.#readMs(config) <= atMs).at(-1);
    const after = this.configs.find((config) => this.#readMs(config) > atMs);
    return [before, after].filter((config) => config !== undefined);
  }

  #timeline<T>(
    section: SectionName,
    find: (config: EnvoyConfig) => { active: Resource<T> | undefined; draining: Resource<T>[] },
  ): Timeline<T> {
    const found = this.configs.filter((config) => config.has(section)).map(find);
    return { active: found.map((entry) => entry.active), draining: found.map((entry) => entry.draining) };
  }

  #possible<T>(timeline: Timeline<T>, configs: readonly EnvoyConfig[], atMs: number, newer: Reason): Possible<T> {
    const after = configs.findIndex((config) => this.#readMs(config) >= atMs);
    const before = after === -1 ? configs.length - 1 : after - 1;
    const held = (index: number): Held<T> => ({ resource: timeline.active[index], config: configs[index]! });
    if (after === -1) return { options: [held(before)] };
    const now = timeline.active[after];
    const old = timeline.draining[after]?.filter((resource) => updatedMs(resource) <= atMs) ?? [];
    const drained = old.map((resource) => ({ resource, config: configs[after]! }));
    const earlier: Held<T>[] = before >= 0 ? [held(before)] : [];
    if (now === undefined) {
      // Gone by the time of the reading; when it went is not told.
      const options = [
        ...earlier,
        ...drained.filter(
          ({ resource }) => !earlier.some((e) => e.resource !== undefined && updatedMs(e.resource) === updatedMs(resource)),
        ),
        held(after),
      ];
      return { options: earlier.length === 1 && earlier[0]!.resource === undefined && drained.length === 0 ? [held(after)] : options };
    }
    if (now.state === 'static') return { options: [held(after)] };
    if (now.lastUpdatedMs === undefined)
      return earlier.length === 0 ? { options: [held(after)], doubt: 'config-newer-than-connection' } : { options: earlier };
    if (updatedMs(now) + WARMING_MS <= atMs) return { options: [held(after)] };
    const previous = [
      ...drained.filter(({ resource }) => updatedMs(resource) < updatedMs(now)),
      ...earlier.filter(({ resource }) => resource === undefined || updatedMs(resource) < updatedMs(now)),
    ];
    if (updatedMs(now) - EARLY_MS > atMs) return previous.length > 0 ? { options: previous } : { options: [held(after)], doubt: newer };
    return { options: [held(after), ...previous] };
  }

  #listenersOfPort(port: number): readonly Timeline<Listener>[] {
    const known = this.#listeners.get(port);
    if (known !== undefined) return known;
    const keys = new Set(this.configs.flatMap((config) => (listenerIndex(config).byPort.get(port) ?? []).map(listenerKey)));
    const timelines = [...keys].map((key) =>
      this.#timeline('listeners', (config) => {
        const all = listenerIndex(config).byKey.get(key) ?? [];
        return {
          active: all.find((resource) => resource.state === 'active' || resource.state === 'static'),
          draining: all.filter((resource) => resource.state === 'draining'),
        };
      }),
    );
    if (this.#listeners.size >= MAX_PORTS) this.#listeners.clear();
    this.#listeners.set(port, timelines);
    return timelines;
  }

  /**
   * Every listener that may have been in service and has, in some reading, an address with this port.
   *
   * @param midstream the connection was open at `atMs` but is older: a listener (or version) that has been replaced may still hold it, for as long as Envoy drains
   */
  listenersAt(port: number, atMs: number, midstream: boolean): Possible<Listener>[] {
    const configs = this.configs.filter((config) => config.has('listeners'));
    if (configs.length === 0) return [];
    return this.#listenersOfPort(port).map((timeline) => {
      const possible = this.#possible(timeline, configs, atMs, 'listener-newer-than-connection');
      return midstream ? this.#older(timeline, possible, configs, atMs) : possible;
    });
  }

  #older(timeline: Timeline<Listener>, possible: Possible<Listener>, configs: readonly EnvoyConfig[], atMs: number): Possible<Listener> {
    const since = Math.max(
      ...possible.options.map(({ resource }) =>
        resource === undefined ? Number.POSITIVE_INFINITY : resource.state === 'static' ? Number.NEGATIVE_INFINITY : updatedMs(resource),
      ),
    );
    const drainMs = this.nearest(atMs).drainMs ?? DEFAULT_DRAIN_MS;
    // Envoy closes what is left on the old version when the drain time is over.
    if (since === Number.NEGATIVE_INFINITY || since + drainMs < atMs) return possible;
    const known = new Set(possible.options.map(({ resource }) => (resource === undefined ? undefined : updatedMs(resource))));
    const options = [...possible.options];
    configs.forEach((config, index) => {
      for (const resource of [timeline.active[index], ...(timeline.draining[index] ?? [])])
        if (resource !== undefined && updatedMs(resource) <= atMs && !known.has(updatedMs(resource))) {
          known.add(updatedMs(resource));
          options.push({ resource, config });
        }
    });
    return {
      options: options.filter(({ resource }) => resource !== undefined || options.length === 1),
      doubt: possible.doubt ?? 'begun-before-recording',
    };
  }

  /** The RDS route configuration of that name. No options: routes were never read. */
  routesAt(name: string, atMs: number): Possible<RouteConfig> {
    const configs = this.configs.filter((config) => config.has('routes'));
    if (configs.length === 0) return { options: [] };
    let timeline = this.#routes.get(name);
    if (timeline === undefined) {
      timeline = this.#timeline('routes', (config) => ({ active: config.findRoutes(name), draining: [] }));
      this.#routes.set(name, timeline);
    }
    return this.#possible(timeline, configs, atMs, 'config-newer-than-connection');
  }

  /** The cluster of that name. No options: clusters were never read. */
  clusterAt(name: string, atMs: number): Possible<Cluster> {
    const configs = this.configs.filter((config) => config.has('clusters'));
    if (configs.length === 0) return { options: [] };
    let timeline = this.#clusters.get(name);
    if (timeline === undefined) {
      timeline = this.#timeline('clusters', (config) => ({
        active: config.clusters.get(name)?.find((resource) => resource.state !== 'warming'),
        draining: [],
      }));
      this.#clusters.set(name, timeline);
    }
    return this.#possible(timeline, configs, atMs, 'config-newer-than-connection');
  }

  /** The endpoints that readings on either side of the moment show, each once; `undefined` when none of them tells. */
  endpointsAt(cluster: Cluster, atMs: number): readonly Endpoint[] | undefined {
    const lists = this.around(atMs)
      .map((config) => config.endpointsOf(cluster))
      .filter((list) => list !== undefined);
    if (lists.length < 2 || lists[0] === lists[1]) return lists[0];
    const found = new Map<string, Endpoint>();
    for (const list of lists) for (const endpoint of list) found.set(`${endpoint.target} ${endpoint.priority}`, endpoint);
    return [...found.values()];
  }
}

/** One snapshot is a history too. */
export function asHistory(of: EnvoyHistory | EnvoyConfig): EnvoyHistory {
  return of instanceof EnvoyHistory ? of : new EnvoyHistory([of]);
}
