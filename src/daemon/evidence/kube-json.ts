/**
 * What is known of Kubernetes, as `kubectl get … -A -o json` prints it: only the fields that sidetrace itself reads, so that no environment variable, command line or annotation of
 * others leaves with it.
 */
import type { KubeNames } from '../../kube/names.ts';
import type { EndpointSlice, Pod, Service } from '../../kube/objects.ts';

export interface KubeFiles {
  readonly 'pods.json': Uint8Array;
  readonly 'services.json': Uint8Array;
  readonly 'endpointslices.json': Uint8Array;
}

type Json = { readonly [field: string]: unknown };

/** `undefined` where nothing is known. */
export function kubeFiles(names: KubeNames): KubeFiles | undefined {
  if (names.pods.length === 0 && names.services.length === 0) return undefined;
  return {
    'pods.json': listText(names.pods.map(podJson)),
    'services.json': listText(names.services.map(serviceJson)),
    'endpointslices.json': listText(names.endpointSlices.map(sliceJson)),
  };
}

function listText(items: readonly Json[]): Uint8Array {
  return Buffer.from(`${JSON.stringify({ apiVersion: 'v1', kind: 'List', items })}\n`);
}

function podJson(pod: Pod): Json {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace: pod.namespace,
      name: pod.name,
      uid: pod.uid,
      labels: Object.fromEntries(pod.labels),
      annotations: Object.fromEntries(
        [...pod.annotations].filter(([key]) => key.includes('istio.io/') || key.startsWith('prometheus.io/')),
      ),
      ...(pod.owner === undefined ? {} : { ownerReferences: [{ kind: pod.owner.kind, name: pod.owner.name, controller: true }] }),
    },
    spec: {
      nodeName: pod.node,
      hostNetwork: pod.hostNetwork ? true : undefined,
      serviceAccountName: pod.serviceAccount,
      containers: [{ name: 'all', ports: pod.ports.map(({ name, port, protocol }) => ({ name, containerPort: port, protocol })) }],
    },
    status: {
      phase: pod.phase,
      podIP: pod.ips[0],
      podIPs: pod.ips.map((ip) => ({ ip })),
      hostIP: pod.hostIps[0],
      hostIPs: pod.hostIps.map((ip) => ({ ip })),
    },
  };
}

function serviceJson(service: Service): Json {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: service.namespace, name: service.name },
    spec: {
      type: service.type,
      clusterIP: service.clusterIps[0] ?? 'None',
      clusterIPs: service.clusterIps,
      externalIPs: service.externalIps,
      ports: service.ports,
      selector: Object.fromEntries(service.selector),
    },
  };
}

function sliceJson(slice: EndpointSlice): Json {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace: slice.namespace,
      name: slice.name,
      labels: slice.service === undefined ? {} : { 'kubernetes.io/service-name': slice.service },
    },
    endpoints: slice.endpoints.map(({ addresses, ready, pod }) => ({
      addresses,
      conditions: ready === undefined ? {} : { ready },
      ...(pod === undefined ? {} : { targetRef: { kind: 'Pod', ...pod } }),
    })),
    ports: slice.ports,
  };
}
