/**
 * Whose network namespace is this? The pod of this node that has the address, if it is sure.
 *
 * Addresses are used again within milliseconds, and what the API server tells comes later than what the kernel shows. So a namespace gets a pod's name only
 * when the pod was taken on before the namespace came to be, nobody had asked for the pod's deletion by then, and the pods were heard of after that moment;
 * where two pods remain, neither.
 */

import type { Pod } from '../../kube/objects.ts';
import { canonicalIp } from '../../net/address.ts';

/** A pod of this node, as it was heard of. */
export interface OwnPod {
  readonly pod: Pod;
  /** When an event first told of it, milliseconds of the Unix epoch; absent: it was in a list. */
  readonly seenMs?: number;
}

/** Up to when pods are complete, milliseconds of the Unix epoch; NaN: never. */
export interface Heard {
  readonly heardMs: number;
  /** Since when every event came as it happened. */
  readonly followedSinceMs: number;
}

/** Whoever makes a pod's network hears of the pod when we do; we may be late by so much. */
const LATE_MS = 100;

/**
 * @param pods those of this node
 * @param ip an address of the namespace
 * @param bornMs when the namespace came to be, milliseconds of the Unix epoch; `undefined`: before anybody looked
 */
export function findPodByAddress(
  pods: Iterable<OwnPod>,
  ip: string,
  bornMs: number | undefined,
  { heardMs, followedSinceMs }: Heard,
): Pod | undefined {
  if (bornMs !== undefined && !(heardMs > bornMs)) return undefined;
  const wanted = canonicalIp(ip) ?? ip;
  let found: Pod | undefined;
  for (const { pod, seenMs } of pods) {
    if (pod.hostNetwork || pod.phase === 'Succeeded' || pod.phase === 'Failed' || !pod.ips.includes(wanted)) continue;
    if (bornMs === undefined ? pod.deletedMs !== undefined : outside(pod, bornMs)) continue;
    // Times of the API server are whole seconds, and a second is long.
    if (bornMs !== undefined && seenMs !== undefined && bornMs >= followedSinceMs && bornMs < seenMs - LATE_MS) continue;
    if (found !== undefined) return undefined;
    found = pod;
  }
  return found;
}

/** Did the namespace come to be before the pod was taken on, or after it was to go? */
function outside({ startedMs, deletedMs }: Pod, bornMs: number): boolean {
  return (startedMs !== undefined && startedMs > bornMs) || (deletedMs !== undefined && deletedMs <= bornMs);
}
