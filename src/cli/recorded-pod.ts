/** What the walk of a hypothetical connection asks of a pod that was recorded, by its state at the end of the recording. */
import { type BatchAnswer, batchAnswerOf } from '../netfilter/batch.ts';
import type { PacketQuery } from '../netfilter/packet-query.ts';
import { proxyPorts } from '../netfilter/ports.ts';
import type { Endpoint } from '../record/record.ts';
import type { RulesHeld } from '../world/world.ts';
import { atEnd, type NamedWorld } from './world-of.ts';

/** The verdict; where something is not known but every way ends alike, that end, with the reason why the rules are not sure. */
export function judge(held: RulesHeld, packet: PacketQuery): BatchAnswer['rule'] {
  const { rule } = batchAnswerOf(held.sets, { ...packet, routing: held.routing });
  const [first, ...others] = rule.candidates ?? [];
  if (
    rule.verdict !== 'unknown' ||
    first === undefined ||
    others.some(({ verdict, to }) => verdict !== first.verdict || to?.port !== first.to?.port)
  )
    return rule;
  const port = first.to?.port;
  return { ...rule, verdict: first.verdict, evidence: 'derived', ...(port === undefined ? {} : { port }) };
}

/** An address of the pod, of the family of another. Link-local ones lead nowhere. */
export function ownAddress({ world }: NamedWorld, like: string): string | undefined {
  return [...world.addresses].find((address) => !address.startsWith('fe80:') && address.includes(':') === like.includes(':'));
}

/** A pod that was recorded and that the service sends to, as kube-proxy does on the node. */
export function behindService(
  worlds: readonly NamedWorld[],
  { ip, port }: Endpoint,
): { readonly at: NamedWorld; readonly destination: Endpoint; readonly service: string } | undefined {
  for (const at of worlds) {
    const { names, pod: own } = at.world;
    const service = names.serviceByIp(ip, port);
    const pod = own === undefined ? undefined : names.podByName(own.namespace, own.name);
    const wanted = service?.ports.find((one) => one.port === port);
    if (service === undefined || wanted === undefined || pod === undefined) continue;
    const target = wanted.targetPort ?? port;
    const number = typeof target === 'number' ? target : pod.ports.find(({ name }) => name === target)?.port;
    const address = ownAddress(at, ip);
    if (number === undefined || address === undefined) continue;
    if (names.servicesOfPod(pod, number).some(({ name, namespace }) => name === service.name && namespace === service.namespace))
      return { at, destination: { ip: address, port: number }, service: `${service.namespace}/${service.name}` };
  }
  return undefined;
}

export function rulesOf({ world }: NamedWorld, ip: string): RulesHeld | undefined {
  return world.rulesAt(ip.includes(':') ? 6 : 4, atEnd);
}

/** Is it the port that the rules send DNS to? */
export function isDns(held: RulesHeld | undefined, port: number | undefined): boolean {
  return held !== undefined && port !== undefined && proxyPorts(held.sets).dns.includes(port);
}

/** The interface that leads out of the pod. */
export function outwards({ world }: NamedWorld): string {
  return world.interfaces.find(({ name }) => name !== 'lo')?.name ?? 'eth0';
}

export function bindAddressOf({ world }: NamedWorld, name: string): string | undefined {
  const address = world.envoy?.configs.at(-1)?.clusters.get(name)?.[0]?.value.bindAddress;
  return address?.kind === 'socket' ? address.ip : undefined;
}

/** Does the proxy itself listen on the port, without any rule that sends it there (a gateway; a sidecar's own ports)? */
export function proxyListens({ world }: NamedWorld, { ip, port }: Endpoint): boolean {
  const listeners = world.envoy?.configs.at(-1)?.listeners ?? [];
  return listeners.some(
    ({ value }) =>
      value.bindToPort &&
      value.addresses.some(
        (address) =>
          address.kind === 'socket' && address.port === port && (address.ip === ip || address.ip === '0.0.0.0' || address.ip === '::'),
      ),
  );
}
