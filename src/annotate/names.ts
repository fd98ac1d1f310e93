/** Names for addresses: the pod, the service and the workload behind each end of a flow, as Kubernetes tells them. Nothing is named that has no single answer. */
import type { KubeNames } from '../kube/names.ts';
import { nameOf } from '../kube/names.ts';
import type { Peer } from '../record/record.ts';

/**
 * Adds names to one end. A service is named by its own address, and on a pod by the one service that its port serves.
 *
 * @param atMs when the flow began, milliseconds of the Unix epoch: a pod that came later is not its end, though it may have the address by now
 */
export function namePeer(names: KubeNames, peer: Peer, protocol: string, atMs: number): void {
  const service = names.serviceByIp(peer.ip, peer.port, protocol);
  if (service !== undefined) peer.service = nameOf(service);
  const pod = names.podByIp(peer.ip, atMs);
  if (pod === undefined) return;
  peer.pod = nameOf(pod);
  const workload = names.workloadOf(pod);
  if (workload !== undefined) peer.workload = `${pod.namespace}/${workload.name}`;
  if (service === undefined && peer.port !== undefined) {
    const serving = names.servicesOfPod(pod, peer.port, protocol);
    if (serving.length === 1) peer.service = nameOf(serving[0]!);
  }
}
