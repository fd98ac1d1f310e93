/** The two ends of a hypothetical connection, as people name them. */
import { canonicalIp, parseEndpoint } from '../net/address.ts';
import type { Endpoint } from '../record/record.ts';
import { UsageError } from './failure.ts';
import { type NamedWorld, oneWorld, worldsNamed } from './world-of.ts';

/** A source port that stands for any. */
const ANY_PORT = 40_000;

/** `10.0.0.1:80`, `[fd00::1]:80`, `productpage:9080`, `default/productpage:9080`, `productpage.default.svc.cluster.local:9080`, `POD:PORT`. */
export function resolveDestination(text: string, worlds: readonly NamedWorld[]): Endpoint {
  const endpoint = parseEndpoint(text);
  if (endpoint !== undefined) return endpoint;
  const [, name, portText] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(portText);
  if (name === undefined || port > 65_535)
    throw new UsageError(`Cannot go to "${text}": HOST:PORT is wanted, an address like 10.96.0.10:80, a service or a pod`);
  const names = worlds[0]?.world.names;
  const [namespace, host] = name.includes('/') ? (name.split('/', 2) as [string, string]) : [undefined, name];
  const [short, inNamespace] = host.split('.') as [string, string | undefined];
  const wanted = namespace ?? (host.includes('.svc') ? inNamespace : undefined);
  const services =
    names?.services.filter(
      (service) =>
        (service.name === host || (host.includes('.svc') && service.name === short)) &&
        (wanted === undefined || service.namespace === wanted),
    ) ?? [];
  const found = services.flatMap((service) => service.clusterIps.slice(0, 1));
  if (found.length === 0)
    found.push(
      ...(names?.pods
        .filter((pod) => pod.name === host && (wanted === undefined || pod.namespace === wanted))
        .flatMap((pod) => pod.ips.slice(0, 1)) ?? []),
    );
  if (found.length === 0) {
    const beginning = names?.pods.filter((pod) => pod.name.startsWith(host) && (wanted === undefined || pod.namespace === wanted)) ?? [];
    found.push(...beginning.flatMap((pod) => pod.ips.slice(0, 1)));
  }
  const [ip] = found;
  if (ip === undefined || found.length > 1)
    throw new UsageError(
      `Cannot go to "${text}": an address, a service or a pod is wanted, ${found.length === 0 ? 'nothing is called so' : `${found.length} are called so (name the namespace)`}`,
    );
  return { ip, port };
}

/** The opener: an address, or the pod that it is. `world` is its namespace, where that was recorded. */
export function resolveSource(
  text: string,
  worlds: readonly NamedWorld[],
  towards: string,
): { endpoint: Endpoint; world: NamedWorld | undefined } {
  const endpoint = parseEndpoint(text);
  const ip = endpoint?.ip ?? canonicalIp(text);
  if (ip !== undefined) {
    const world = worlds.find((one) => one.world.addresses.has(ip));
    return { endpoint: { ip, port: endpoint?.port ?? ANY_PORT }, world };
  }
  const named = worldsNamed(worlds, text);
  const world = named.length === 1 ? named[0]! : { ...named[0]!, world: oneWorld(named, worlds, text) };
  const own = [...world.world.addresses]
    .filter((address) => !address.startsWith('fe80:'))
    .find((address) => address.includes(':') === towards.includes(':'));
  if (own === undefined)
    throw new UsageError(
      `Cannot open a connection from "${text}" to "${towards}": an address of the same family is wanted, the pod has ${[...world.world.addresses].join(', ') || 'none that is known'}`,
    );
  return { endpoint: { ip: own, port: ANY_PORT }, world };
}
