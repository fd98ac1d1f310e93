/**
 * PPP: the optional address and control bytes, then the protocol in two bytes, or in one where it was negotiated (its lowest bit is then 1).
 * Source: RFC 1661 sections 2 and 6.5; RFC 1662 section 3.1; PPP protocol numbers (IANA).
 */
import { LAYER_IPV4, LAYER_IPV6, LAYER_MPLS, LAYER_NONE, LAYER_PPP, stopShort } from './layer.ts';
import type { Packet } from './packet.ts';

const ADDRESS_AND_CONTROL = 0xff03;
const PPP_IPV4 = 0x0021;
const PPP_IPV6 = 0x0057;
const PPP_MPLS = 0x0281;
const PPP_MPLS_MULTICAST = 0x0283;

export function decodePpp(packet: Packet, view: DataView): number {
  if (packet.limit - packet.cursor >= 2 && view.getUint16(packet.cursor) === ADDRESS_AND_CONTROL) packet.cursor += 2;
  const at = packet.cursor;
  if (packet.limit - at < 1) return stopShort(packet, LAYER_PPP, 2);
  let protocol = view.getUint8(at);
  let length = 1;
  if ((protocol & 1) === 0) {
    if (packet.limit - at < 2) return stopShort(packet, LAYER_PPP, 2);
    protocol = view.getUint16(at);
    length = 2;
  }
  packet.cursor = at + length;
  switch (protocol) {
    case PPP_IPV4:
      return LAYER_IPV4;
    case PPP_IPV6:
      return LAYER_IPV6;
    case PPP_MPLS:
    case PPP_MPLS_MULTICAST:
      return LAYER_MPLS;
    default:
      return LAYER_NONE;
  }
}
