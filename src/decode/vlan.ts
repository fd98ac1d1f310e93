/** VLAN tag after its EtherType, 4 bytes: priority, DEI and id; EtherType or length. Stacked tags come here once each. Source: IEEE 802.1Q clause 9. */
import { layerOfEtherType } from './ether-type.ts';
import { LAYER_LLC, LAYER_VLAN, stopShort } from './layer.ts';
import { narrow } from './narrow.ts';
import type { Packet } from './packet.ts';

const VLAN_TAG_LEN = 4;

export function decodeVlan(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  if (packet.limit - at < VLAN_TAG_LEN) return stopShort(packet, LAYER_VLAN, VLAN_TAG_LEN);
  if (packet.vlan === -1) packet.vlan = view.getUint16(at) & 0xfff;
  const etherType = view.getUint16(at + 2);
  packet.cursor = at + VLAN_TAG_LEN;
  const next = layerOfEtherType(etherType);
  if (next === LAYER_LLC) narrow(packet, packet.cursor + etherType);
  return next;
}
