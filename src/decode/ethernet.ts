/** Ethernet II and IEEE 802.3 header, 14 bytes: destination, source, type or length. Source: IEEE 802.3 clause 3. */
import { layerOfEtherType } from './ether-type.ts';
import { LAYER_ETHERNET, LAYER_LLC, stopShort } from './layer.ts';
import { narrow } from './narrow.ts';
import type { Packet } from './packet.ts';

const ETHERNET_HEADER_LEN = 14;

export function decodeEthernet(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  if (packet.limit - at < ETHERNET_HEADER_LEN) return stopShort(packet, LAYER_ETHERNET, ETHERNET_HEADER_LEN);
  const etherType = view.getUint16(at + 12);
  packet.cursor = at + ETHERNET_HEADER_LEN;
  const next = layerOfEtherType(etherType);
  if (next === LAYER_LLC) narrow(packet, packet.cursor + etherType);
  return next;
}
