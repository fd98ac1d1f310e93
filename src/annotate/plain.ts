/**
 * What is said of the connections of a capture when nothing else is known: no rules, no conntrack, no sockets, no Envoy, no names, no addresses of our own. Then all of them are judged alike,
 * and annotate.ts need not be asked for each. A test holds the two against each other.
 */

import type { PlainFlow } from '../record/plain-flow.ts';
import type { Leg, RuleVerdict } from '../record/record.ts';
import type { World } from '../world/world.ts';
import { type FileInterfaceNames, interfaceName } from './place.ts';
import type { ProxyPorts } from './proxy-ports.ts';

const NOBODY_TOLD: RuleVerdict = { verdict: 'unknown', evidence: 'unavailable', reason: 'no-rules', steps: [] };
const UNKNOWN: readonly Leg[] = ['unknown'];
const HBONE: readonly Leg[] = ['hbone'];

export class PlainAnnotator {
  readonly #world: World;
  readonly #ports: ProxyPorts;
  readonly #fileInterfaces: FileInterfaceNames;
  readonly #names = new Map<number, readonly string[]>();

  constructor(world: World, ports: ProxyPorts, fileInterfaces: FileInterfaceNames) {
    this.#world = world;
    this.#ports = ports;
    this.#fileInterfaces = fileInterfaces;
  }

  /** Is nothing known of this namespace but its packets? @param atNs some time in the recording */
  static isPlain(world: World, ports: ProxyPorts, atNs: number): boolean {
    const { names } = world;
    if (world.rulesAt(4, atNs) !== undefined || world.rulesAt(6, atNs) !== undefined) return false;
    if (world.conntrack !== undefined || world.sockets !== undefined || world.envoy !== undefined || ports.hasProxy) return false;
    return (
      world.pod === undefined &&
      world.interfaces.length === 0 &&
      world.addresses.size === 0 &&
      names.pods.length === 0 &&
      names.services.length === 0
    );
  }

  /**
   * Fills in what annotators say.
   *
   * @param interfaceId as the slot has it
   * @returns false where the flow is one of a kind of which something may be said after all: it touches loopback
   */
  annotate(flow: PlainFlow, interfaceId: number): boolean {
    if (touchesLoopback(flow)) return false;
    const interfaces = this.#interfaces(interfaceId);
    if (interfaces[0] === 'lo') return false;
    flow.interfaces = interfaces;
    flow.rule = NOBODY_TOLD;
    flow.roles = flow.isTcp && this.#ports.hbone.has(flow.destinationPort) ? HBONE : UNKNOWN;
    return true;
  }

  #interfaces(id: number): readonly string[] {
    let names = this.#names.get(id);
    if (names === undefined) {
      names = [interfaceName(this.#world, id, this.#fileInterfaces)];
      this.#names.set(id, names);
    }
    return names;
  }
}

function touchesLoopback({ ipv6, addresses }: PlainFlow): boolean {
  if (!ipv6) return addresses[3]! >>> 24 === 127 || addresses[7]! >>> 24 === 127;
  return isV6Loopback(addresses, 0) || isV6Loopback(addresses, 4);
}

/** Also what isLoopback (net/address.ts) takes for it: text that begins with `127.` cannot be IPv6. */
function isV6Loopback(addresses: Int32Array, at: number): boolean {
  return addresses[at] === 0 && addresses[at + 1] === 0 && addresses[at + 2] === 0 && addresses[at + 3] === 1;
}
