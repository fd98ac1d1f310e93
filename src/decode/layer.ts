/** The layers by number, in the order of `layerNames` (a test compares the two), and the two ways in which one can stop. */
import type { Packet } from './packet.ts';

export const LAYER_NONE = 0;
export const LAYER_ETHERNET = 1;
export const LAYER_SLL = 2;
export const LAYER_SLL2 = 3;
export const LAYER_NULL = 4;
export const LAYER_PPP = 5;
export const LAYER_VLAN = 6;
export const LAYER_MPLS = 7;
export const LAYER_PPPOE = 8;
export const LAYER_IPV4 = 9;
export const LAYER_IPV6 = 10;
export const LAYER_IPV6_EXTENSION = 11;
export const LAYER_TCP = 12;
export const LAYER_UDP = 13;
export const LAYER_ICMP = 14;
export const LAYER_ICMPV6 = 15;
export const LAYER_SCTP = 16;
export const LAYER_GRE = 17;
export const LAYER_VXLAN = 18;
export const LAYER_GENEVE = 19;
/** No layer at all: the link type itself is not supported. */
export const LAYER_LINK = 20;
export const LAYER_LLC = 21;
export const LAYER_LOOP = 22;
export const LAYER_RAW = 23;

export const STOP_SNAPSHOT = 1;
export const STOP_LENGTH = 2;
export const STOP_MALFORMED = 3;
export const STOP_DEPTH = 4;
export const STOP_UNSUPPORTED = 5;

/** The layer at the cursor needs `need` bytes and has fewer: they were not captured, or a length around it ends before. Always `LAYER_NONE`, so that a decoder can return it. */
export function stopShort(packet: Packet, layer: number, need: number): number {
  const cause = packet.cursor + need > packet.wireEnd ? STOP_LENGTH : STOP_SNAPSHOT;
  return stop(packet, layer, cause, need);
}

/** The bytes at the cursor are there and cannot be right. Always `LAYER_NONE`. */
export function stopMalformed(packet: Packet, layer: number): number {
  return stop(packet, layer, STOP_MALFORMED, 0);
}

export function stop(packet: Packet, layer: number, cause: number, need: number): number {
  packet.stopLayer = layer;
  packet.stopCause = cause;
  packet.stopOffset = packet.cursor;
  packet.stopNeed = need;
  packet.stopHave = Math.max(0, packet.limit - packet.cursor);
  return LAYER_NONE;
}
