/**
 * UDP header, 8 bytes: source port, destination port, length (header + payload), checksum. Source: RFC 768.
 * The destination ports of VXLAN (4789 by IANA, 8472 Linux's own) and Geneve announce a tunnel; its decoder looks before it believes.
 */
import { LAYER_GENEVE, LAYER_NONE, LAYER_UDP, LAYER_VXLAN, stopMalformed, stopShort } from './layer.ts';
import { setPayload } from './narrow.ts';
import type { Packet } from './packet.ts';

const UDP_HEADER_LEN = 8;
const PORT_VXLAN = 4789;
const PORT_VXLAN_LINUX = 8472;
const PORT_GENEVE = 6081;

export function decodeUdp(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  const have = packet.limit - at;
  if (have >= 4) {
    packet.hasPorts = true;
    packet.srcPort = view.getUint16(at);
    packet.dstPort = view.getUint16(at + 2);
  }
  if (have < UDP_HEADER_LEN) return stopShort(packet, LAYER_UDP, UDP_HEADER_LEN);
  const length = view.getUint16(at + 4);
  // 0 is a jumbogram (RFC 2675 section 4): the rest of the packet. So is a length beyond it: a first fragment, or a lie.
  if (length !== 0) {
    if (length < UDP_HEADER_LEN) return stopMalformed(packet, LAYER_UDP);
    const end = at + length;
    if (end < packet.wireEnd) {
      packet.wireEnd = end;
      if (end < packet.limit) packet.limit = end;
    }
  }
  packet.cursor = at + UDP_HEADER_LEN;
  setPayload(packet, packet.cursor);
  switch (packet.dstPort) {
    case PORT_VXLAN:
    case PORT_VXLAN_LINUX:
      return packet.fragment ? LAYER_NONE : LAYER_VXLAN;
    case PORT_GENEVE:
      return packet.fragment ? LAYER_NONE : LAYER_GENEVE;
    default:
      return LAYER_NONE;
  }
}
