/**
 * Whose network namespace is this? The pod of this node that has the address, if it is sure.
 *
 * Addresses are used again within milliseconds, and what the API server tells comes later than what the kernel shows. So a namespace gets a pod's name only
 * when the pod was taken on before the namespace came to be, nobody had asked for the pod's deletion by then, and the pods were heard of after that moment;
 * where two pods remain, neither.
 */

import type { Pod } from '../../kube/objects.ts';
import { canonicalIp } from '../../net/address.ts';

/**
 * @param pods those of this node
 * @param ip an address of the namespace
 * @param bornMs when the namespace came to be, milliseconds of the Unix epoch; `undefined`: before anybody looked
 * @param heardMs up to when `pods` are complete
 */
export function findPodByAddress(pods: Iterable<Pod>, ip: string, bornMs: number | undefined, heardMs: number): Pod | undefined {
  if (bornMs !== undefined && !(heardMs >= bornMs)) return undefined;
  const wanted = canonicalIp(ip) ?? ip;
  let found: Pod | undefined;
  for (const pod of pods) {
    if (pod.hostNetwork || pod.phase === 'Succeeded' || pod.phase === 'Failed' || !pod.ips.includes(wanted)) continue;
    if (bornMs === undefined ? pod.deletedMs !== undefined : tooLate(pod, bornMs)) continue;
    if (found !== undefined) return undefined;
    found = pod;
  }
  return found;
}

/** Did the namespace come to be before the pod was taken on, or after it was to go? */
function tooLate(pod: Pod, bornMs: number): boolean {
  if (pod.startedMs !== undefined && pod.startedMs > bornMs) return true;
  return pod.deletedMs !== undefined && pod.deletedMs <= bornMs;
}
