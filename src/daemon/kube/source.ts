/** Names from Kubernetes, wherever they come from. */
import { KubeNames } from '../../kube/names.ts';
import type { Pod } from '../../kube/objects.ts';
import type { ListWatchState } from './list-watch.ts';

export interface KubeView {
  /** Another object whenever anything is different. */
  readonly names: KubeNames;
  /**
   * The pod of this node whose network namespace has this address, if it is sure; never one in its node's network.
   *
   * @param bornMs when the namespace came to be, milliseconds of the Unix epoch; absent: before anybody looked
   */
  podByAddress(ip: string, bornMs?: number): Pod | undefined;
  /** Was everything read at least once? */
  readonly synced: boolean;
  /** RFC 3339: since when nothing new was heard of some of it; absent: it is as new as can be. */
  readonly staleSince?: string;
  /** Where it comes from, in words. */
  readonly source: string;
  /** How each resource is followed; empty where none is. */
  readonly parts: readonly ListWatchState[];
}

export interface KubeSource {
  readonly view: KubeView;
  /** Begins; names come when they come. */
  start(): void;
  stop(): Promise<void>;
  /** Called after `view.names` or the pods of this node became others. @returns takes it back */
  onChange(listener: () => void): () => void;
}

/** The pod that has all of these addresses, where they are one pod's. @param bornMs as {@link KubeView.podByAddress} takes it */
export function podOf(
  view: KubeView,
  addresses: readonly string[],
  bornMs: number | undefined,
): { namespace: string; name: string; uid: string } | undefined {
  const pods = new Map(addresses.flatMap((address) => view.podByAddress(address, bornMs) ?? []).map((pod) => [pod.uid, pod]));
  const [pod] = pods.values();
  return pods.size === 1 && pod !== undefined ? { namespace: pod.namespace, name: pod.name, uid: pod.uid ?? '' } : undefined;
}

const noNames = new KubeNames();

/** Nothing is known of Kubernetes. */
export function withoutKube(): KubeSource {
  return {
    view: { names: noNames, podByAddress: () => undefined, synced: true, source: 'none', parts: [] },
    start() {},
    stop: async () => {},
    onChange: () => () => {},
  };
}
