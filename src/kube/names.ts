/**
 * Whose address is this? Pods, services and nodes by address, as far as it is sure.
 *
 * An address that several live pods have gives no pod; a pod in its node's network gives none either, since any process of the node has that address.
 */
import { canonicalIp } from '../net/address.ts';
import type { EndpointSlice, KubeObjects, Pod, Service, ServicePort } from './objects.ts';
import { type Workload, workloadOf } from './workload.ts';

/** `namespace/name` */
export function nameOf(object: { readonly namespace: string; readonly name: string }): string {
  return `${object.namespace}/${object.name}`;
}

/** Ended pods keep their address in their status while another pod may have got it. */
function ended(pod: Pod): boolean {
  return pod.phase === 'Succeeded' || pod.phase === 'Failed';
}

function sameProtocol(given: string | undefined, of: string): boolean {
  return given === undefined || given.toUpperCase() === of.toUpperCase();
}

interface SlicePort {
  readonly service: Service | { readonly namespace: string; readonly name: string };
  readonly slice: EndpointSlice;
}

export class KubeNames {
  #pods: readonly Pod[] = [];
  #services: readonly Service[] = [];
  #endpointSlices: readonly EndpointSlice[] = [];
  readonly #podByIp = new Map<string, Pod | 'several'>();
  readonly #podByUid = new Map<string, Pod>();
  readonly #podByName = new Map<string, Pod>();
  readonly #nodeByIp = new Map<string, string | 'several'>();
  readonly #serviceByName = new Map<string, Service>();
  readonly #servicesByIp = new Map<string, Service[]>();
  readonly #slicesByIp = new Map<string, SlicePort[]>();
  /** Services by namespace that have no endpoint slice here: these are judged by their selector. */
  readonly #selecting = new Map<string, Service[]>();

  /** Objects of the same namespace and name: the later one counts. */
  constructor(...parts: readonly KubeObjects[]) {
    const steps = this.#fill(parts);
    while (steps.next().done !== true);
  }

  /** The same a little at a time: between two steps there may be other work. */
  static *inSteps(...parts: readonly KubeObjects[]): Generator<void, KubeNames> {
    const names = new KubeNames();
    yield* names.#fill(parts);
    return names;
  }

  get pods(): readonly Pod[] {
    return this.#pods;
  }

  get services(): readonly Service[] {
    return this.#services;
  }

  get endpointSlices(): readonly EndpointSlice[] {
    return this.#endpointSlices;
  }

  *#fill(parts: readonly KubeObjects[]): Generator<void> {
    const slices = new Map<string, EndpointSlice>();
    for (const { pods, services, endpointSlices } of parts) {
      for (const pod of pods) {
        this.#podByName.set(nameOf(pod), pod);
        yield;
      }
      for (const service of services) this.#serviceByName.set(nameOf(service), service);
      yield;
      for (const slice of endpointSlices) slices.set(nameOf(slice), slice);
      yield;
    }
    this.#pods = [...this.#podByName.values()];
    this.#services = [...this.#serviceByName.values()];
    this.#endpointSlices = [...slices.values()];
    for (const pod of this.#pods) {
      this.#addPod(pod);
      yield;
    }
    for (const service of this.#services) {
      for (const ip of new Set([...service.clusterIps, ...service.externalIps])) append(this.#servicesByIp, ip, service);
      yield;
    }
    const sliced = new Set<string>();
    for (const slice of slices.values()) {
      this.#addSlice(slice, sliced);
      yield;
    }
    for (const service of this.#services)
      if (service.selector.size > 0 && !sliced.has(nameOf(service))) append(this.#selecting, service.namespace, service);
  }

  /**
   * The one live pod that has this address for itself.
   *
   * @param atMs milliseconds of the Unix epoch; a pod that its node took on only later did not have the address then
   */
  podByIp(ip: string, atMs?: number): Pod | undefined {
    const pod = this.#podByIp.get(canonicalIp(ip) ?? ip);
    if (pod === 'several') return undefined;
    return atMs !== undefined && pod?.startedMs !== undefined && pod.startedMs > atMs ? undefined : pod;
  }

  podByUid(uid: string): Pod | undefined {
    return this.#podByUid.get(uid);
  }

  podByName(namespace: string, name: string): Pod | undefined {
    return this.#podByName.get(`${namespace}/${name}`);
  }

  /** The node that has this address, as pods that run there tell. */
  nodeByIp(ip: string): string | undefined {
    const node = this.#nodeByIp.get(canonicalIp(ip) ?? ip);
    return node === 'several' ? undefined : node;
  }

  serviceByName(namespace: string, name: string): Service | undefined {
    return this.#serviceByName.get(`${namespace}/${name}`);
  }

  /** The service with this cluster, external or load balancer address; of several that share it, the one that has the port; else none. */
  serviceByIp(ip: string, port?: number, protocol?: string): Service | undefined {
    const found = this.#servicesByIp.get(canonicalIp(ip) ?? ip);
    if (found === undefined || found.length === 1) return found?.[0];
    const fit = found.filter((service) => service.ports.some((own) => own.port === port && sameProtocol(protocol, own.protocol)));
    return fit.length === 1 ? fit[0] : undefined;
  }

  /**
   * The services that a pod's port serves, sorted by name: through endpoint slices, and by selector where a service has none here.
   *
   * @param pod a pod, or one of its addresses
   * @param port the pod's port (not the service's); without one, every port
   */
  servicesOfPod(pod: Pod | string, port?: number, protocol?: string): { readonly namespace: string; readonly name: string }[] {
    const known = typeof pod === 'string' ? this.podByIp(pod) : pod;
    const ips = typeof pod === 'string' ? [canonicalIp(pod) ?? pod] : pod.ips;
    const found = new Map<string, { readonly namespace: string; readonly name: string }>();
    for (const ip of ips)
      for (const { service, slice } of this.#slicesByIp.get(ip) ?? []) {
        const fits = slice.ports.some(
          (own) => (port === undefined || own.port === undefined || own.port === port) && sameProtocol(protocol, own.protocol),
        );
        if (fits && (known === undefined || endpointIs(slice, ip, known))) found.set(nameOf(service), service);
      }
    if (known !== undefined)
      for (const service of this.#selecting.get(known.namespace) ?? []) {
        if (![...service.selector].every(([key, value]) => known.labels.get(key) === value)) continue;
        if (port === undefined || service.ports.some((own) => targets(own, known, port, protocol))) found.set(nameOf(service), service);
      }
    return [...found.values()].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  }

  /** The controller behind a pod. */
  workloadOf(pod: Pod): Workload | undefined {
    return workloadOf(pod);
  }

  #addPod(pod: Pod): void {
    if (pod.uid !== undefined) this.#podByUid.set(pod.uid, pod);
    if (pod.node !== undefined)
      for (const ip of pod.hostIps) {
        const known = this.#nodeByIp.get(ip);
        this.#nodeByIp.set(ip, known === undefined || known === pod.node ? pod.node : 'several');
      }
    if (ended(pod) || pod.hostNetwork) return;
    for (const ip of pod.ips) this.#podByIp.set(ip, this.#podByIp.has(ip) ? 'several' : pod);
  }

  #addSlice(slice: EndpointSlice, sliced: Set<string>): void {
    if (slice.service === undefined) return;
    const id = { namespace: slice.namespace, name: slice.service };
    sliced.add(nameOf(id));
    const service = this.#serviceByName.get(nameOf(id)) ?? id;
    const ips = new Set(slice.endpoints.flatMap((endpoint) => endpoint.addresses));
    for (const ip of ips) append(this.#slicesByIp, ip, { service, slice });
  }
}

function append<K, T>(map: Map<K, T[]>, key: K, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

/** Is this pod the slice's endpoint at the address? An endpoint that names no pod is whoever has the address. */
function endpointIs(slice: EndpointSlice, ip: string, pod: Pod): boolean {
  return slice.endpoints.some(
    ({ addresses, pod: named }) =>
      addresses.includes(ip) &&
      (named === undefined ||
        (named.uid !== undefined && pod.uid !== undefined
          ? named.uid === pod.uid
          : named.namespace === pod.namespace && named.name === pod.name)),
  );
}

/** Does the service send this port to this port of the pod? */
function targets(own: ServicePort, pod: Pod, port: number, protocol: string | undefined): boolean {
  if (!sameProtocol(protocol, own.protocol)) return false;
  if (typeof own.targetPort === 'number') return own.targetPort === port;
  return pod.ports.some((container) => container.name === own.targetPort && container.port === port && container.protocol === own.protocol);
}
