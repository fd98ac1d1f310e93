/**
 * Pods, services and endpoint slices as the API server has them, as names.
 *
 * The names are made anew after changes, at most four times a second and for at most a tenth of the time; the pods of this node are looked at as they are.
 */
import { KubeNames } from '../../kube/names.ts';
import { type EndpointSlice, type Pod, readKubeObject, type Service } from '../../kube/objects.ts';
import type { BackOff } from '../../net/back-off.ts';
import { Turns } from '../turns.ts';
import type { KubeApi } from './api.ts';
import { type KubeLog, ListWatch, type ListWatchState } from './list-watch.ts';
import { Listeners } from './listeners.ts';
import { findPodByAddress, type OwnPod } from './pod-by-address.ts';
import type { KubeSource, KubeView } from './source.ts';

export interface KubeWatchOptions {
  readonly api: KubeApi;
  /** The node whose pods are followed, as Kubernetes calls it. */
  readonly node: string;
  /** All pods, so that peers on other nodes have names; else those of this node only. */
  readonly allPods: boolean;
  readonly log: KubeLog;
  readonly pageSize?: number;
  readonly backOff?: BackOff;
  readonly random?: () => number;
  readonly now?: () => number;
}

const FIRST_MS = 20;
const BETWEEN_MS = 250;
/** Names are made for at most this share of the time. */
const SHARE = 0.1;

const noAnnotations: ReadonlyMap<string, string> = new Map();

/** A pod without what is not asked for: annotations may be a hundred times longer than all the rest. */
function readPod(item: unknown): Pod | undefined {
  const pod = readKubeObject('Pod', item);
  if (pod === undefined || pod.annotations.size === 0) return pod;
  const kept = [...pod.annotations].filter(([key]) => key.includes('istio.io/'));
  return { ...pod, annotations: kept.length === 0 ? noAnnotations : new Map(kept) };
}

export class KubeWatch implements KubeSource {
  readonly view: KubeView;
  readonly #pods: ListWatch<Pod>;
  readonly #services: ListWatch<Service>;
  readonly #slices: ListWatch<EndpointSlice>;
  readonly #node: string;
  readonly #listeners = new Listeners();
  readonly #now: () => number;
  #own = new Map<string, OwnPod>();
  #names = new KubeNames();
  #timer: NodeJS.Timeout | undefined;
  #building = false;
  /** Did anything change while names were made? */
  #again = false;
  #builtMs = Number.NEGATIVE_INFINITY;
  #tookMs = 0;
  #stopped = false;

  constructor(options: KubeWatchOptions) {
    this.#node = options.node;
    this.#now = options.now ?? Date.now;
    const { api, log } = options;
    const shared = {
      api,
      log,
      ...(options.pageSize === undefined ? {} : { pageSize: options.pageSize }),
      ...(options.backOff === undefined ? {} : { backOff: options.backOff }),
      ...(options.random === undefined ? {} : { random: options.random }),
      ...(options.now === undefined ? {} : { now: options.now }),
    };
    const changed = () => this.#changed();
    this.#pods = new ListWatch<Pod>({
      ...shared,
      path: '/api/v1/pods',
      ...(options.allPods ? {} : { fieldSelector: `spec.nodeName=${options.node}` }),
      read: readPod,
      onChange: (key) => this.#podChanged(key),
    });
    this.#services = new ListWatch<Service>({
      ...shared,
      path: '/api/v1/services',
      read: (item) => readKubeObject('Service', item),
      onChange: changed,
    });
    this.#slices = new ListWatch<EndpointSlice>({
      ...shared,
      path: '/apis/discovery.k8s.io/v1/endpointslices',
      read: (item) => readKubeObject('EndpointSlice', item),
      onChange: changed,
    });
    this.view = this.#makeView(`${api.cluster.name}, ${api.cluster.server}`);
  }

  #makeView(source: string): KubeView {
    const own = this;
    return {
      get names() {
        return own.#names;
      },
      podByAddress: (ip, bornMs) => {
        const { heardMs, openedMs } = own.#pods.state;
        return findPodByAddress(own.#own.values(), ip, bornMs, { heardMs, followedSinceMs: openedMs });
      },
      get synced() {
        return own.#parts().every(({ synced }) => synced);
      },
      get staleSince() {
        const since = own.#parts().flatMap(({ staleSinceMs }) => staleSinceMs ?? []);
        return since.length === 0 ? undefined : new Date(Math.min(...since)).toISOString();
      },
      source,
      get parts() {
        return own.#parts();
      },
    } as KubeView;
  }

  #parts(): ListWatchState[] {
    return [this.#pods.state, this.#services.state, this.#slices.state];
  }

  start(): void {
    for (const part of [this.#pods, this.#services, this.#slices]) part.start();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await Promise.all([this.#pods, this.#services, this.#slices].map((part) => part.stop()));
  }

  onChange(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  #podChanged(key: string | undefined): void {
    const former = this.#own;
    const own = key === undefined ? new Map<string, OwnPod>() : former;
    const changed = key === undefined ? this.#pods.objects : new Map([[key, this.#pods.objects.get(key)]]);
    for (const [name, pod] of changed)
      if (pod?.node === this.#node) own.set(name, this.#asSeen(pod, former.get(name), key === undefined));
      else own.delete(name);
    this.#own = own;
    this.#changed();
  }

  #asSeen(given: Pod, former: OwnPod | undefined, listed: boolean): OwnPod {
    const same = former?.pod.uid === given.uid ? former : undefined;
    const seenMs = same !== undefined ? same.seenMs : listed ? undefined : this.#now();
    // The API server's clock may be ahead of ours: a deletion was asked for before we heard of it.
    const deletedMs =
      given.deletedMs === undefined ? undefined : Math.min(given.deletedMs, same?.pod.deletedMs ?? Number.POSITIVE_INFINITY, this.#now());
    return {
      pod: deletedMs === undefined ? given : { ...given, deletedMs },
      ...(seenMs === undefined ? {} : { seenMs }),
    };
  }

  #changed(): void {
    this.#again = this.#building;
    if (this.#timer !== undefined || this.#stopped || this.#building) return;
    const pause = Math.max(BETWEEN_MS, this.#tookMs / SHARE);
    this.#timer = setTimeout(() => void this.#build(), Math.max(FIRST_MS, this.#builtMs + pause - performance.now()));
  }

  async #build(): Promise<void> {
    const beganMs = performance.now();
    const turns = new Turns();
    const steps = KubeNames.inSteps({
      pods: withoutFormer(this.#pods.objects.values()),
      services: [...this.#services.objects.values()],
      endpointSlices: [...this.#slices.objects.values()],
    });
    // What changes from here on is for the next time.
    this.#timer = undefined;
    this.#building = true;
    let step = steps.next();
    for (; step.done !== true; step = steps.next()) if (turns.over) await turns.rest();
    this.#building = false;
    if (this.#stopped) return;
    this.#names = step.value;
    this.#builtMs = performance.now();
    this.#tookMs = this.#builtMs - beganMs;
    this.#listeners.tell();
    if (this.#again) this.#changed();
  }
}

/** Without pods that are to go and whose address another one has got meanwhile: it could get it only because theirs was given back. */
export function withoutFormer(pods: Iterable<Pod>): Pod[] {
  const all = [...pods];
  const going = all.filter((pod) => pod.deletedMs !== undefined);
  if (going.length === 0) return all;
  const taken = new Set(all.flatMap((pod) => (pod.deletedMs === undefined && !pod.hostNetwork ? pod.ips : [])));
  return all.filter((pod) => pod.deletedMs === undefined || !pod.ips.some((ip) => taken.has(ip)));
}
