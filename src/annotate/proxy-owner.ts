/** As whom the proxy of a namespace runs: the user that listens where the rules send connections to, or where Envoy is said to listen. */
import type { World } from '../world/world.ts';
import type { ProxyPorts } from './proxy-ports.ts';
import type { Owner } from './rule.ts';

const known = new WeakMap<ProxyPorts, { readonly owner: Owner | undefined }>();

/** @returns `undefined` when no listing shows it, or listings show several users */
export function ownerOfProxy(world: World, ports: ProxyPorts): Owner | undefined {
  let found = known.get(ports);
  if (found === undefined) {
    found = { owner: findOwner(world, ports) };
    known.set(ports, found);
  }
  return found.owner;
}

function findOwner(world: World, ports: ProxyPorts): Owner | undefined {
  const uids = new Set<number>();
  for (const { local, protocol, uid, process } of world.sockets?.listeners() ?? []) {
    if (protocol !== 'tcp' || uid === undefined || local.port === undefined) continue;
    if (ports.outbound.has(local.port) || ports.inbound.has(local.port) || process === 'envoy') uids.add(uid);
  }
  const [uid] = uids;
  return uid === undefined || uids.size > 1 ? undefined : { uid };
}
