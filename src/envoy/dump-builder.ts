/**
 * A configuration from a /config_dump that comes in chunks: its text as a whole is never there, and what is to be done for one chunk is little.
 *
 * Resources whose text is the same as before are the same objects as before (`previous`, and `keep` for those of other Envoys), so that many versions of many
 * large configurations take little more room than one.
 */
import type { BuiltValues } from './built-values.ts';
import type { Cluster } from './cluster.ts';
import { byName, EnvoyConfig, type FoundResources, type Section, type SectionName, sectionTypes } from './config.ts';
import { DumpSplitter } from './dump-splitter.ts';
import { EnvoyConfigError, shortType } from './json.ts';
import { JsonPart, readJson, rootOf } from './json-part.ts';
import type { Listener } from './listener.ts';
import {
  assignmentOf,
  clusterLists,
  clustersOf,
  endpointLists,
  listenerLists,
  listenersOf,
  type Resource,
  type ResourceMaker,
  routeLists,
  routesOf,
} from './resource.ts';
import type { RouteConfig } from './route-config.ts';

const WHAT = 'an Envoy config_dump';
/** Texts of single entries: what is built at once is one of them. */
const options = { what: WHAT, unitDepth: 1 };

const clusterStates = new Map(clusterLists);
const routeStates = new Map(routeLists);

/** `dynamicActiveClusters` is `dynamic_active_clusters`. */
function protoName(list: string): string {
  return list.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export class DumpBuilder {
  readonly #maker: ResourceMaker & { readonly built: BuiltValues };
  readonly #splitter: DumpSplitter;
  readonly #previous: FoundResources | undefined;
  readonly #sections = new Map<SectionName, Section[]>();
  readonly #unknown: string[] = [];
  /** Of the section at hand: entries that are asked for as entries. */
  #lists = new Map<string, JsonPart[]>();
  readonly #listeners = new Map<string, Resource<Listener>[]>(listenerLists.map((list) => [list, []]));
  readonly #clusters = new Map<string, Resource<Cluster>[]>(clusterLists.map(([list]) => [list, []]));
  readonly #routes = new Map<string, Resource<RouteConfig>[]>(routeLists.map(([list]) => [list, []]));
  readonly #assignments = new Map<string, JsonPart>();

  /** @param previous of the reading before, if any: what is the same is taken from it */
  constructor(maker: ResourceMaker, previous?: EnvoyConfig) {
    this.#maker = maker;
    this.#previous = previous?.found;
    this.#splitter = new DumpSplitter({
      entry: (list, bytes) => this.#entry(protoName(list), bytes),
      section: (bytes) => this.#section(bytes),
    });
  }

  /** @throws {EnvoyConfigError} when it is no dump, or larger than can be read; nothing is to be added then */
  add(chunk: Uint8Array): void {
    this.#splitter.add(chunk);
  }

  /**
   * @param readAt RFC 3339
   * @param weight of the configuration
   * @throws {EnvoyConfigError} when it was none, or is not whole
   */
  finish(readAt: string, weight = 0): EnvoyConfig {
    this.#splitter.end();
    if (this.#sections.size === 0)
      throw new EnvoyConfigError(
        `Cannot read ${WHAT}: parts such as ListenersConfigDump are wanted in "configs", ${this.#unknown.length === 0 ? 'none are' : `"${this.#unknown.join('", "').slice(0, 200)}" is`} there`,
        'configs',
      );
    return new EnvoyConfig(this.#sections, { readAt, built: this.#maker.built }, { found: this.#found(), weight });
  }

  #found(): FoundResources {
    const before = this.#previous;
    const listeners = sameOrNew(before?.listeners, [...this.#listeners.values()].flat());
    const clusters = sameOrNew(before?.clusterList, [...this.#clusters.values()].flat());
    return {
      listeners,
      clusterList: clusters,
      clusters: before !== undefined && clusters === before.clusterList ? before.clusters : byName(clusters),
      routes: sameOrNew(before?.routes, [...this.#routes.values()].flat()),
      assignments: before !== undefined && sameMap(before.assignments, this.#assignments) ? before.assignments : this.#assignments,
    };
  }

  #entry(list: string, bytes: Uint8Array): void {
    const entry = rootOf(readJson(bytes, options));
    if (entry === undefined) return;
    const clusters = clusterStates.get(list);
    const routes = routeStates.get(list);
    if (clusters !== undefined) this.#clusters.get(list)!.push(...clustersOf(this.#maker, clusters, entry));
    else if (routes !== undefined) this.#routes.get(list)!.push(...routesOf(this.#maker, routes, entry));
    else if (listenerLists.includes(list)) this.#listeners.get(list)!.push(...listenersOf(this.#maker, list, entry));
    else if (endpointLists.includes(list)) {
      const assignment = assignmentOf(this.#maker, entry);
      if (assignment !== undefined) this.#assignments.set(assignment.name, assignment.part);
    }
    // Secrets are read from their entries, and so is what Envoy refused.
    const refused = entry.textMentions('error_state') || entry.textMentions('errorState');
    if (!refused && !list.endsWith('_secrets')) return;
    const found = this.#lists.get(list) ?? [];
    this.#lists.set(list, found);
    found.push(new JsonPart(readJson(bytes.slice(), options), 0));
  }

  #section(bytes: Uint8Array): void {
    const text = readJson(bytes.slice(), options);
    const part = rootOf(text);
    const lists = this.#lists;
    this.#lists = new Map();
    if (part === undefined) return;
    const type = shortType(part.fields.text('@type') ?? '');
    if (!Object.hasOwn(sectionTypes, type)) {
      if (this.#unknown.length < 3) this.#unknown.push(type);
      return;
    }
    const name = sectionTypes[type]!;
    const found = this.#sections.get(name);
    if (found === undefined) this.#sections.set(name, [{ part, lists }]);
    else found.push({ part, lists });
  }
}

/** Former resources where they are the same; where all are, the former list. */
function sameOrNew<T>(before: readonly Resource<T>[] | undefined, now: readonly Resource<T>[]): readonly Resource<T>[] {
  if (before === undefined) return now;
  let same = before.length === now.length;
  const merged = now.map((resource, i) => {
    const former = before[i];
    if (former !== undefined && resource.isSame(former)) return former;
    same = false;
    return resource;
  });
  return same ? before : merged;
}

function sameMap(before: ReadonlyMap<string, JsonPart>, now: ReadonlyMap<string, JsonPart>): boolean {
  if (before.size !== now.size) return false;
  for (const [name, part] of now) if (before.get(name) !== part) return false;
  return true;
}
