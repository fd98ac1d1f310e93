/** Names for addresses: the pod, the service and the workload behind each end of a flow, as Kubernetes tells them. Nothing is named that has no single answer. */
import type { KubeNames } from '../kube/names.ts';
import { nameOf } from '../kube/names.ts';
import type { Peer } from '../record/record.ts';

/** Adds names to one end. A service is named by its own address, and on a pod by the one service that its port serves. */
export function namePeer(names: KubeNames, peer: Peer, protocol: string): void {
  const service = names.serviceByIp(peer.ip, peer.port, protocol);
  if (service !== undefined) peer.service = nameOf(service);
  const pod = names.podByIp(peer.ip);
  if (pod === undefined) return;
  peer.pod = nameOf(pod);
  const workload = names.workloadOf(pod);
  if (workload !== undefined) peer.workload = `${pod.namespace}/${workload.name}`;
  if (service === undefined && peer.port !== undefined) {
    const serving = names.servicesOfPod(pod, peer.port, protocol);
    if (serving.length === 1) peer.service = nameOf(serving[0]!);
  }
}
