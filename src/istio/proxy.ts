/**
 * Which proxy of the mesh an Envoy is, from its node id and metadata.
 * Source: istio/istio pkg/model/proxy.go (NodeMetadata), pilot/pkg/model/context.go (node id `type~ip~name.namespace~domain`).
 */
export type ProxyType = 'sidecar' | 'router' | 'waypoint' | 'ztunnel' | 'unknown';

export interface Proxy {
  readonly type: ProxyType;
  readonly ip: string;
  /** Name and namespace of the pod. */
  readonly name: string;
  readonly namespace: string;
  /** Version of Istio as its build tells, '' unknown. */
  readonly istioVersion: string;
  /** How the kernel hands it connections: REDIRECT, TPROXY or NONE; absent when not told. */
  readonly interceptionMode?: 'REDIRECT' | 'TPROXY' | 'NONE';
  /** Addresses of the pod. */
  readonly addresses: readonly string[];
  readonly dnsCapture: boolean;
  readonly clusterId: string;
  readonly meshId: string;
  /** Service account, workload and canonical labels. */
  readonly serviceAccount: string;
  readonly workload: string;
  readonly labels: { readonly [name: string]: string };
  readonly nodeName: string;
  /** Ports from the proxy's own configuration; absent when not told. */
  readonly adminPort?: number;
  readonly statusPort?: number;
}

const types: readonly string[] = ['sidecar', 'router', 'waypoint', 'ztunnel'];
const modes: readonly string[] = ['REDIRECT', 'TPROXY', 'NONE'];

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function portOf(value: unknown): number | undefined {
  const port = typeof value === 'string' && value !== '' ? Number(value) : value;
  return typeof port === 'number' && Number.isInteger(port) && port > 0 && port < 65536 ? port : undefined;
}

function recordOf(value: unknown): { readonly [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as { readonly [name: string]: unknown }) : {};
}

/** Reads a node of Envoy's bootstrap. An Envoy without Istio has type `unknown`. */
export function parseProxy(node: { readonly id: string; readonly metadata: { readonly [name: string]: unknown } }): Proxy {
  const [type = '', ip = '', pod = ''] = node.id.split('~');
  const { metadata } = node;
  const config = recordOf(metadata.PROXY_CONFIG);
  const dot = pod.lastIndexOf('.');
  const labels: { [name: string]: string } = {};
  for (const [name, value] of Object.entries(recordOf(metadata.LABELS))) if (typeof value === 'string') labels[name] = value;
  const mode = textOf(metadata.INTERCEPTION_MODE);
  const adminPort = portOf(config.proxyAdminPort);
  const statusPort = portOf(metadata.ENVOY_STATUS_PORT);
  return {
    type: types.includes(type) ? (type as ProxyType) : 'unknown',
    ip,
    name: textOf(metadata.NAME) || (dot === -1 ? pod : pod.slice(0, dot)),
    namespace: textOf(metadata.NAMESPACE) || (dot === -1 ? '' : pod.slice(dot + 1)),
    istioVersion: textOf(metadata.ISTIO_VERSION) === 'unknown' ? '' : textOf(metadata.ISTIO_VERSION),
    ...(modes.includes(mode) ? { interceptionMode: mode as 'REDIRECT' | 'TPROXY' | 'NONE' } : {}),
    addresses: textOf(metadata.INSTANCE_IPS)
      .split(',')
      .filter((address) => address !== ''),
    dnsCapture: textOf(metadata.DNS_CAPTURE) === 'true' || recordOf(config.proxyMetadata).ISTIO_META_DNS_CAPTURE === 'true',
    clusterId: textOf(metadata.CLUSTER_ID),
    meshId: textOf(metadata.MESH_ID),
    serviceAccount: textOf(metadata.SERVICE_ACCOUNT),
    workload: textOf(metadata.WORKLOAD_NAME),
    labels,
    nodeName: textOf(metadata.NODE_NAME),
    ...(adminPort === undefined ? {} : { adminPort }),
    ...(statusPort === undefined ? {} : { statusPort }),
  };
}
