/** The proxy of a namespace as its sockets show it: as whom it runs, and whether it listens where the rules send connections to. */
import { listenerHead } from '../envoy/listener-index.ts';
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

/**
 * Does the proxy listen where the rules send to what comes in? By the listed sockets, else by Envoy's own configuration; `{}` where nothing shows it.
 * A listing in which nobody listens is of another moment than the connection: it does not prove that nobody did.
 */
export function listenerOfProxy(world: World, ports: ProxyPorts): { transparentListener?: true } {
  const { sockets, envoy } = world;
  const inbound = [...ports.inbound];
  const shown =
    sockets === undefined
      ? envoy?.configs.some((config) =>
          config.listeners.some((resource) => {
            const { bindToPort, addresses } = listenerHead(resource);
            return bindToPort && addresses.some((address) => address.kind === 'socket' && inbound.includes(address.port));
          }),
        )
      : inbound.some((port) => sockets.listenersAt('tcp', '0.0.0.0', port).length > 0);
  return shown === true ? { transparentListener: true } : {};
}
