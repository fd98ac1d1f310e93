/**
 * IEEE 802.2 LLC header after an 802.3 length, with SNAP: DSAP, SSAP, control, then (SNAP) organisation and EtherType.
 * Source: IEEE 802.2; RFC 1042 (IP over SNAP).
 */
import { layerOfEtherType } from './ether-type.ts';
import { LAYER_IPV4, LAYER_LLC, LAYER_NONE, stopShort } from './layer.ts';
import type { Packet } from './packet.ts';

const LLC_HEADER_LEN = 3;
const SNAP_HEADER_LEN = 8;
const SAP_IP = 0x06;
const SAP_SNAP = 0xaa;
const CONTROL_UI = 0x03;
/** Ethernet types as such, and bridged ones of IEEE 802.1H. */
const OUI_RFC1042 = 0x000000;
const OUI_BRIDGED = 0x0000f8;

export function decodeLlc(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  if (packet.limit - at < LLC_HEADER_LEN) return stopShort(packet, LAYER_LLC, LLC_HEADER_LEN);
  const sap = view.getUint8(at);
  if (view.getUint8(at + 1) !== sap || view.getUint8(at + 2) !== CONTROL_UI) return LAYER_NONE;
  if (sap === SAP_IP) {
    packet.cursor = at + LLC_HEADER_LEN;
    return LAYER_IPV4;
  }
  if (sap !== SAP_SNAP) return LAYER_NONE;
  if (packet.limit - at < SNAP_HEADER_LEN) return stopShort(packet, LAYER_LLC, SNAP_HEADER_LEN);
  const organisation = view.getUint32(at + 2) & 0xffffff;
  if (organisation !== OUI_RFC1042 && organisation !== OUI_BRIDGED) return LAYER_NONE;
  packet.cursor = at + SNAP_HEADER_LEN;
  const next = layerOfEtherType(view.getUint16(at + 6));
  return next === LAYER_LLC ? LAYER_NONE : next;
}
