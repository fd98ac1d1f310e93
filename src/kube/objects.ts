/**
 * Pods, services and endpoint slices as `kubectl get -o json` prints them: one object, a List of any kinds, or the typed lists of the API (`PodList`).
 *
 * Fields that are not known are passed over; an object without a name is left out. Everything is bounded.
 * Source: Kubernetes API core/v1 Pod, Service; discovery.k8s.io/v1 EndpointSlice.
 */
import { canonicalIp } from '../net/address.ts';
import { JsonText, JsonTextError } from '../net/json-text.ts';
import { parseRfc3339 } from '../net/time.ts';
import { type JsonObject, listOf, objectOf, portOf, textMapOf, textOf } from './fields.ts';

const ITEM_LIMIT = 200_000;
const LIST_LIMIT = 10_000;
const LABEL_LIMIT = 1000;

export interface ContainerPort {
  readonly name?: string;
  readonly port: number;
  /** `TCP`, `UDP`, `SCTP`. */
  readonly protocol: string;
}

export interface Owner {
  readonly kind: string;
  readonly name: string;
}

export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string;
  readonly node?: string;
  /** Canonical text. With `hostNetwork` these are the node's. */
  readonly ips: readonly string[];
  readonly hostIps: readonly string[];
  readonly hostNetwork: boolean;
  /** The identity that it runs as. */
  readonly serviceAccount?: string;
  /** `Running`, `Succeeded`, … */
  readonly phase?: string;
  /** When its node took it on, before its network was made. Milliseconds of the Unix epoch, whole seconds. */
  readonly startedMs?: number;
  /** When its deletion was asked for: no network is made for it from then on. Milliseconds of the Unix epoch, whole seconds. */
  readonly deletedMs?: number;
  readonly labels: ReadonlyMap<string, string>;
  readonly annotations: ReadonlyMap<string, string>;
  /** The controlling owner. */
  readonly owner?: Owner;
  readonly ports: readonly ContainerPort[];
}

export interface ServicePort {
  readonly name?: string;
  readonly port: number;
  readonly protocol: string;
  /** A number, or the name of a container's port. */
  readonly targetPort: number | string;
  readonly nodePort?: number;
}

export interface Service {
  readonly namespace: string;
  readonly name: string;
  /** `ClusterIP`, `NodePort`, `LoadBalancer`, `ExternalName`. */
  readonly type: string;
  /** Empty for a headless service. */
  readonly clusterIps: readonly string[];
  /** External addresses and those of load balancers: several services may share one. */
  readonly externalIps: readonly string[];
  readonly ports: readonly ServicePort[];
  readonly selector: ReadonlyMap<string, string>;
}

export interface SliceEndpoint {
  readonly addresses: readonly string[];
  readonly ready?: boolean;
  /** The pod that it is. */
  readonly pod?: { readonly namespace: string; readonly name: string; readonly uid?: string };
}

export interface EndpointSlice {
  readonly namespace: string;
  readonly name: string;
  /** The service that it belongs to. */
  readonly service?: string;
  readonly endpoints: readonly SliceEndpoint[];
  /** A port without a number is every port. */
  readonly ports: readonly { readonly name?: string; readonly port?: number; readonly protocol: string }[];
}

export interface KubeObjects {
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
}

/** The text is not what `kubectl get -o json` prints. */
export class KubeSyntaxError extends SyntaxError {
  override readonly name = 'KubeSyntaxError';
  readonly path: string;

  constructor(path: string, state: string) {
    super(`Cannot read "${path}" as the output of kubectl get -o json: ${state}`);
    this.path = path;
  }
}

/** An optional property, present only where its value is. */
function maybe<K extends string, T>(key: K, value: T | undefined): { readonly [P in K]?: T } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [P in K]?: T });
}

function ipsOf(values: readonly unknown[]): string[] {
  const ips = new Set<string>();
  for (const value of values) {
    const ip = canonicalIp(textOf(value) ?? '');
    if (ip !== undefined) ips.add(ip);
  }
  return [...ips];
}

const fieldsOf = (values: unknown, field: string) => listOf(values, LIST_LIMIT).map((value) => objectOf(value)[field]);

function timeMsOf(value: unknown): number | undefined {
  const at = parseRfc3339(textOf(value) ?? '');
  return at === undefined ? undefined : at.seconds * 1000 + Math.floor(at.nanoseconds / 1e6);
}

/** `deletionTimestamp` is when the grace period is over. Source: Kubernetes meta/v1 ObjectMeta. */
function deletedMsOf(metadata: JsonObject): number | undefined {
  const over = timeMsOf(metadata.deletionTimestamp);
  const grace = metadata.deletionGracePeriodSeconds;
  return over === undefined ? undefined : over - (typeof grace === 'number' && grace > 0 ? grace * 1000 : 0);
}

function podOf(namespace: string, name: string, item: JsonObject): Pod {
  const metadata = objectOf(item.metadata);
  const spec = objectOf(item.spec);
  const status = objectOf(item.status);
  const owners = listOf(metadata.ownerReferences, LIST_LIMIT).map(objectOf);
  const owner = owners.find((reference) => reference.controller === true) ?? (owners.length === 1 ? owners[0] : undefined);
  const ownerKind = textOf(owner?.kind);
  const ownerName = textOf(owner?.name);
  const ports: ContainerPort[] = [];
  // a sidecar is an init container that is restarted
  for (const container of [...listOf(spec.containers, LIST_LIMIT), ...listOf(spec.initContainers, LIST_LIMIT)])
    for (const given of listOf(objectOf(container).ports, LIST_LIMIT)) {
      const field = objectOf(given);
      const port = portOf(field.containerPort);
      if (port !== undefined) ports.push({ port, protocol: textOf(field.protocol) ?? 'TCP', ...maybe('name', textOf(field.name)) });
    }
  return {
    namespace,
    name,
    ips: ipsOf([status.podIP, ...fieldsOf(status.podIPs, 'ip')]),
    hostIps: ipsOf([status.hostIP, ...fieldsOf(status.hostIPs, 'ip')]),
    hostNetwork: spec.hostNetwork === true,
    labels: textMapOf(metadata.labels, LABEL_LIMIT),
    annotations: textMapOf(metadata.annotations, LABEL_LIMIT),
    ports,
    ...maybe('uid', textOf(metadata.uid)),
    ...maybe('node', textOf(spec.nodeName)),
    ...maybe('serviceAccount', textOf(spec.serviceAccountName)),
    ...maybe('phase', textOf(status.phase)),
    ...maybe('startedMs', timeMsOf(status.startTime)),
    ...maybe('deletedMs', deletedMsOf(metadata)),
    ...maybe('owner', ownerKind === undefined || ownerName === undefined ? undefined : { kind: ownerKind, name: ownerName }),
  };
}

function serviceOf(namespace: string, name: string, item: JsonObject): Service {
  const spec = objectOf(item.spec);
  const ports: ServicePort[] = [];
  for (const given of listOf(spec.ports, LIST_LIMIT)) {
    const field = objectOf(given);
    const port = portOf(field.port);
    if (port === undefined) continue;
    ports.push({
      port,
      protocol: textOf(field.protocol) ?? 'TCP',
      targetPort: portOf(field.targetPort) ?? textOf(field.targetPort) ?? port,
      ...maybe('name', textOf(field.name)),
      ...maybe('nodePort', portOf(field.nodePort)),
    });
  }
  return {
    namespace,
    name,
    type: textOf(spec.type) ?? 'ClusterIP',
    clusterIps: ipsOf([spec.clusterIP, ...listOf(spec.clusterIPs, LIST_LIMIT)]),
    externalIps: ipsOf([...listOf(spec.externalIPs, LIST_LIMIT), ...fieldsOf(objectOf(objectOf(item.status).loadBalancer).ingress, 'ip')]),
    ports,
    selector: textMapOf(spec.selector, LABEL_LIMIT),
  };
}

function sliceOf(namespace: string, name: string, item: JsonObject): EndpointSlice {
  const metadata = objectOf(item.metadata);
  const endpoints = listOf(item.endpoints, LIST_LIMIT).map((given): SliceEndpoint => {
    const endpoint = objectOf(given);
    const target = objectOf(endpoint.targetRef);
    const pod = target.kind === 'Pod' ? textOf(target.name) : undefined;
    const ready = objectOf(endpoint.conditions).ready;
    return {
      addresses: ipsOf(listOf(endpoint.addresses, LIST_LIMIT)),
      ...maybe('ready', typeof ready === 'boolean' ? ready : undefined),
      ...maybe(
        'pod',
        pod === undefined
          ? undefined
          : { namespace: textOf(target.namespace) ?? namespace, name: pod, ...maybe('uid', textOf(target.uid)) },
      ),
    };
  });
  const ports = listOf(item.ports, LIST_LIMIT).map((given) => {
    const field = objectOf(given);
    return { protocol: textOf(field.protocol) ?? 'TCP', ...maybe('name', textOf(field.name)), ...maybe('port', portOf(field.port)) };
  });
  return {
    namespace,
    name,
    endpoints,
    ports,
    ...maybe('service', textMapOf(metadata.labels, LABEL_LIMIT).get('kubernetes.io/service-name')),
  };
}

export type KubeKind = 'Pod' | 'Service' | 'EndpointSlice';

/** One object as a field of another text held it (an item of a list, the object of a watch event); `undefined` when it has no name. */
export function readKubeObject(kind: 'Pod', value: unknown): Pod | undefined;
export function readKubeObject(kind: 'Service', value: unknown): Service | undefined;
export function readKubeObject(kind: 'EndpointSlice', value: unknown): EndpointSlice | undefined;
export function readKubeObject(kind: KubeKind, value: unknown): Pod | Service | EndpointSlice | undefined {
  const item = objectOf(value);
  const metadata = objectOf(item.metadata);
  const name = textOf(metadata.name);
  if (name === undefined) return undefined;
  const read = kind === 'Pod' ? podOf : kind === 'Service' ? serviceOf : sliceOf;
  return read(textOf(metadata.namespace) ?? 'default', name, item);
}

function pushKnown<T>(list: T[], item: T | undefined): void {
  if (item !== undefined) list.push(item);
}

/** Bounds of a list: its items are at depth 3, `{"items": [{…}]}`. */
const ITEM_DEPTH = 3;
const WORD_LENGTH = 1024;
const encoder = new TextEncoder();

/** Runs it, with errors of the text as errors of the objects. */
function asKube<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof JsonTextError)) throw error;
    throw new KubeSyntaxError(path, error.state);
  }
}

/**
 * Reads the output of `kubectl get pods|services|endpointslices -o json`, of one kind or several; objects of other kinds are passed over.
 *
 * @param json its text, or the bytes of its text
 * @param path names the text in errors
 * @throws {KubeSyntaxError} when it is no JSON, no Kubernetes object or list, or larger than can be read
 */
export function parseKubeObjects(json: string | Uint8Array, path: string): KubeObjects {
  const bytes = typeof json === 'string' ? encoder.encode(json) : json;
  const text = asKube(path, () => new JsonText(bytes, { what: `"${path}"`, unitDepth: ITEM_DEPTH }));
  const root = text.members(text.start);
  const word = (at: number | undefined): string | undefined =>
    at === undefined || text.kind(at) !== 'string' || text.end(at) - at > WORD_LENGTH ? undefined : textOf(text.build(at));
  const kind = word(root.get('kind'));
  if (kind === undefined || word(root.get('apiVersion')) === undefined)
    throw new KubeSyntaxError(path, 'an object with "kind" and "apiVersion" is wanted, it has none');
  const list = root.get('items');
  const isList = kind.endsWith('List') && list !== undefined && text.kind(list) === 'list';
  const itemKind = kind === 'List' ? undefined : kind.replace(/List$/, '');
  const pods: Pod[] = [];
  const services: Service[] = [];
  const endpointSlices: EndpointSlice[] = [];
  let count = 0;
  if (!isList) asKube(path, () => text.checkUnit(text.start));
  for (const at of isList ? text.items(list) : [text.start]) {
    if (++count > ITEM_LIMIT) throw new KubeSyntaxError(path, `at most ${ITEM_LIMIT} items are wanted, there are more`);
    if (text.kind(at) !== 'object') continue;
    const item = objectOf(text.build(at));
    const own = textOf(item.kind) ?? itemKind;
    if (own === 'Pod') pushKnown(pods, readKubeObject(own, item));
    else if (own === 'Service') pushKnown(services, readKubeObject(own, item));
    else if (own === 'EndpointSlice') pushKnown(endpointSlices, readKubeObject(own, item));
  }
  return { pods, services, endpointSlices };
}
