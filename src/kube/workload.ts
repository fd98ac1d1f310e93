/**
 * Who made a pod: the Deployment, StatefulSet, DaemonSet, Job, … behind it.
 *
 * A Deployment is not named in its pods: they belong to a ReplicaSet that is called after it and the hash of its template, which the pod carries as a label.
 * Source: Kubernetes apps/v1 DeploymentController (pod-template-hash).
 */
import type { Pod } from './objects.ts';

export interface Workload {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** `undefined` for a pod that nobody controls. */
export function workloadOf(pod: Pod): Workload | undefined {
  if (pod.owner === undefined) return undefined;
  const { kind, name } = pod.owner;
  const hash = pod.labels.get('pod-template-hash');
  if (kind === 'ReplicaSet' && hash !== undefined && hash !== '' && name.endsWith(`-${hash}`) && name.length > hash.length + 1)
    return { kind: 'Deployment', namespace: pod.namespace, name: name.slice(0, -hash.length - 1) };
  return { kind, namespace: pod.namespace, name };
}
