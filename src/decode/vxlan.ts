/**
 * VXLAN header, 8 bytes: flags, reserved (with the group-policy extension: a group), VNI, reserved. An Ethernet frame follows. Source: RFC 7348 section 5; draft-smith-vxlan-group-policy.
 * Any program may use these ports, so a header with reserved bits set is taken for the program's own data, not for a tunnel.
 */
import { LAYER_ETHERNET, LAYER_NONE, LAYER_VXLAN, stopShort } from './layer.ts';
import type { Packet } from './packet.ts';
import { announceTunnel, TUNNEL_VXLAN } from './tunnel.ts';

const VXLAN_HEADER_LEN = 8;
const VNI_PRESENT = 0x08000000;
const GROUP_PRESENT = 0x88000000 | 0;
/** The group extension's "don't learn" and "policy applied" bits, and the group itself. */
const GROUP_BITS = 0x0048ffff;

export function decodeVxlan(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  if (packet.limit - at < VXLAN_HEADER_LEN) return stopShort(packet, LAYER_VXLAN, VXLAN_HEADER_LEN);
  const flags = view.getInt32(at);
  if (flags !== VNI_PRESENT && (flags & ~GROUP_BITS) !== GROUP_PRESENT) return LAYER_NONE;
  const vniAndReserved = view.getUint32(at + 4);
  if ((vniAndReserved & 0xff) !== 0) return LAYER_NONE;
  packet.cursor = at + VXLAN_HEADER_LEN;
  return announceTunnel(packet, TUNNEL_VXLAN, vniAndReserved >>> 8, LAYER_ETHERNET);
}
