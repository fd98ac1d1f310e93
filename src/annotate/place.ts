/** Where a flow was seen and which side of it is ours: the hook it entered by, and the interfaces of its route. */
import type { Flow, FlowEnd } from '../flow/flow.ts';
import { FILE_INTERFACE } from '../flow/slot.ts';
import { isLoopback } from '../net/address.ts';
import type { World } from '../world/world.ts';

/** The loopback device of a network namespace always has index 1. Source: Linux drivers/net/loopback.c, include/net/net_namespace.h LOOPBACK_IFINDEX. */
const LOOPBACK_IFINDEX = 1;

/** Names of the interfaces of a capture file, by the file's interface id. */
export type FileInterfaceNames = (id: number) => string | undefined;

/** The name of an interface word of a slot; `if7` where only the index is known. */
export function interfaceName(world: World, id: number, fileNames: FileInterfaceNames): string {
  if ((id & FILE_INTERFACE) !== 0) {
    const file = id & ~FILE_INTERFACE;
    return fileNames(file) ?? `file${file}`;
  }
  for (const known of world.interfaces) if (known.index === id) return known.name;
  return id === LOOPBACK_IFINDEX ? 'lo' : `if${id}`;
}

export interface Place {
  /** By which hook the first packet entered netfilter; `undefined` when neither side is known to be ours. */
  readonly hook: 'OUTPUT' | 'PREROUTING' | undefined;
  /** The incoming interface, for PREROUTING. */
  readonly in?: string;
  /** The interface of the route before any redirect, for OUTPUT; absent when it cannot be told. */
  readonly out?: string;
  readonly onLoopback: boolean;
  readonly sourceIsOurs: boolean;
  readonly destinationIsOurs: boolean;
}

/**
 * @param source of the original tuple
 * @param destination of the original tuple
 * @param interfaces names of the interfaces on which the flow was seen
 */
export function findPlace(world: World, source: FlowEnd, destination: FlowEnd, interfaces: readonly string[]): Place {
  const ours = (ip: string) => isLoopback(ip) || world.addresses.has(ip);
  const sourceIsOurs = ours(source.ip);
  const destinationIsOurs = ours(destination.ip);
  const onLoopback = interfaces.every((name) => name === 'lo') && interfaces.length > 0;
  if (sourceIsOurs || onLoopback) {
    // What travels over lo with a foreign source comes from a transparent socket of the proxy (IP_TRANSPARENT): still our own output.
    const out = destinationIsOurs ? 'lo' : outward(world, interfaces);
    return { hook: 'OUTPUT', ...(out === undefined ? {} : { out }), onLoopback, sourceIsOurs, destinationIsOurs };
  }
  if (world.addresses.size === 0) return { hook: undefined, onLoopback, sourceIsOurs, destinationIsOurs };
  return { hook: 'PREROUTING', ...(interfaces[0] === undefined ? {} : { in: interfaces[0] }), onLoopback, sourceIsOurs, destinationIsOurs };
}

/**
 * May this be one half of a redirected connection, whose other half was not found? Its questions go to loopback from elsewhere; its answers come over lo from whom the opener asked,
 * which may be anybody, and nothing goes back there.
 */
export function isHalf(flow: Flow, place: Place): boolean {
  if (flow.answerSlot !== undefined || (flow.packetsToDestination > 0 && flow.packetsToSource > 0)) return false;
  if (flow.packetsToDestination > 0 && isLoopback(flow.destination.ip)) return !isLoopback(flow.source.ip);
  if (flow.packetsToSource > 0) return place.onLoopback && !isLoopback(flow.destination.ip);
  return place.onLoopback && flow.midstream && !isLoopback(flow.source.ip);
}

/** The interface towards the outside: where the flow was seen there, or the only one there is. */
function outward(world: World, interfaces: readonly string[]): string | undefined {
  const seen = interfaces.find((name) => name !== 'lo');
  if (seen !== undefined) return seen;
  const others = world.interfaces.filter((i) => i.name !== 'lo');
  return others.length === 1 ? others[0]!.name : undefined;
}
