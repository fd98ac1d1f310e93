/** SCTP common header, 12 bytes: ports, verification tag, checksum; chunks follow. Source: RFC 9260 section 3.1. */
import { LAYER_NONE, LAYER_SCTP, stopShort } from './layer.ts';
import { setPayload } from './narrow.ts';
import type { Packet } from './packet.ts';

const SCTP_HEADER_LEN = 12;

export function decodeSctp(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  const have = packet.limit - at;
  if (have >= 4) {
    packet.hasPorts = true;
    packet.srcPort = view.getUint16(at);
    packet.dstPort = view.getUint16(at + 2);
  }
  if (have < SCTP_HEADER_LEN) return stopShort(packet, LAYER_SCTP, SCTP_HEADER_LEN);
  setPayload(packet, at + SCTP_HEADER_LEN);
  return LAYER_NONE;
}
