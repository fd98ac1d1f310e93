/** The listeners of one reading by port and by address, so that large configurations are not searched for each connection. */
import { formatAddress } from './address.ts';
import type { EnvoyConfig, Resource } from './config.ts';
import { LISTENER_HEAD, type Listener, type ListenerHead, parseListenerHead } from './listener.ts';

export interface ListenerIndex {
  readonly byPort: ReadonlyMap<number, readonly Resource<Listener>[]>;
  /** By {@link listenerKey}, all states. */
  readonly byKey: ReadonlyMap<string, readonly Resource<Listener>[]>;
  /** In canonical text; wildcards under `0.0.0.0` and `::`. */
  readonly byIp: ReadonlyMap<string, readonly Resource<Listener>[]>;
}

const heads = new WeakMap<Resource<Listener>, ListenerHead>();

/** Where the listener is reached, without reading its chains. */
export function listenerHead(resource: Resource<Listener>): ListenerHead {
  let head = heads.get(resource);
  if (head === undefined) {
    head = parseListenerHead(resource.pick(LISTENER_HEAD));
    heads.set(resource, head);
  }
  return head;
}

const indexes = new WeakMap<EnvoyConfig, ListenerIndex>();

function add<K>(map: Map<K, Resource<Listener>[]>, key: K, resource: Resource<Listener>): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [resource]);
  else if (list.at(-1) !== resource) list.push(resource);
}

/** The name, or of a listener without one the address: what tells its versions from others. */
export function listenerKey(resource: Resource<Listener>): string {
  return resource.name || formatAddress(listenerHead(resource).addresses[0] ?? { kind: 'unknown' });
}

export function listenerIndex(config: EnvoyConfig): ListenerIndex {
  const known = indexes.get(config);
  if (known !== undefined) return known;
  const byPort = new Map<number, Resource<Listener>[]>();
  const byIp = new Map<string, Resource<Listener>[]>();
  const byKey = new Map<string, Resource<Listener>[]>();
  for (const resource of config.listeners) {
    add(byKey, listenerKey(resource), resource);
    for (const address of listenerHead(resource).addresses) {
      if (address.kind !== 'socket') continue;
      add(byPort, address.port, resource);
      if (address.ip !== undefined) add(byIp, address.ip, resource);
    }
  }
  const index = { byPort, byIp, byKey };
  indexes.set(config, index);
  return index;
}
