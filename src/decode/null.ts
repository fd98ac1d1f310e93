/**
 * BSD loopback (NULL: the address family in the byte order of the machine that captured; LOOP: in network order) and RAW (no header: the IP version tells).
 * Source: https://www.tcpdump.org/linktypes.html. The family of IPv6 differs: 24 NetBSD and OpenBSD, 28 FreeBSD, 30 macOS, 10 Linux.
 */
import { LAYER_IPV4, LAYER_IPV6, LAYER_LOOP, LAYER_NONE, LAYER_NULL, LAYER_RAW, stopMalformed, stopShort } from './layer.ts';
import type { Packet } from './packet.ts';

const FAMILY_LEN = 4;

export function decodeNull(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  if (packet.limit - at < FAMILY_LEN) return stopShort(packet, LAYER_NULL, FAMILY_LEN);
  packet.cursor = at + FAMILY_LEN;
  const family = view.getUint32(at);
  return layerOfFamily(family > 0xffff ? view.getUint32(at, true) : family);
}

export function decodeLoop(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  if (packet.limit - at < FAMILY_LEN) return stopShort(packet, LAYER_LOOP, FAMILY_LEN);
  packet.cursor = at + FAMILY_LEN;
  return layerOfFamily(view.getUint32(at));
}

export function decodeRaw(packet: Packet, view: DataView): number {
  if (packet.limit === packet.cursor) return stopShort(packet, LAYER_RAW, 1);
  const version = view.getUint8(packet.cursor) >> 4;
  if (version === 4) return LAYER_IPV4;
  return version === 6 ? LAYER_IPV6 : stopMalformed(packet, LAYER_RAW);
}

function layerOfFamily(family: number): number {
  switch (family) {
    case 2:
      return LAYER_IPV4;
    case 10:
    case 24:
    case 28:
    case 30:
      return LAYER_IPV6;
    default:
      return LAYER_NONE;
  }
}
