/**
 * GRE: flags and version, protocol type, then checksum, key and sequence number where the flags say so. Version 1 is PPTP's.
 * Source: RFC 2784 section 2; RFC 2890 section 2; RFC 2637 section 4.1; NVGRE (RFC 7637) is a key and a bridged frame.
 */
import { ETHERTYPE_PPP, layerOfTunnelType } from './ether-type.ts';
import { LAYER_GRE, LAYER_NONE, stopMalformed, stopShort } from './layer.ts';
import type { Packet } from './packet.ts';
import { announceTunnel, TUNNEL_GRE } from './tunnel.ts';

const GRE_HEADER_LEN = 4;
const CHECKSUM_PRESENT = 0x8000;
const ROUTING_PRESENT = 0x4000;
const KEY_PRESENT = 0x2000;
const SEQUENCE_PRESENT = 0x1000;
const ACKNOWLEDGMENT_PRESENT = 0x0080;
const VERSION = 0x0007;

export function decodeGre(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  if (packet.limit - at < GRE_HEADER_LEN) return stopShort(packet, LAYER_GRE, GRE_HEADER_LEN);
  const flags = view.getUint16(at);
  const protocolType = view.getUint16(at + 2);
  const version = flags & VERSION;
  // Source routes were dropped from the standard in 2000, and no length is left to skip them by.
  if (version > 1 || (flags & ROUTING_PRESENT) !== 0) return stopMalformed(packet, LAYER_GRE);
  if (version === 1 && protocolType !== ETHERTYPE_PPP) return stopMalformed(packet, LAYER_GRE);

  let length = GRE_HEADER_LEN;
  if ((flags & CHECKSUM_PRESENT) !== 0) length += 4;
  const keyAt = at + length;
  const hasKey = (flags & KEY_PRESENT) !== 0;
  if (hasKey) length += 4;
  if ((flags & SEQUENCE_PRESENT) !== 0) length += 4;
  if (version === 1 && (flags & ACKNOWLEDGMENT_PRESENT) !== 0) length += 4;
  if (packet.limit - at < length) return stopShort(packet, LAYER_GRE, length);

  packet.cursor = at + length;
  // PPTP keeps the payload length and the call in the key's place; without a sequence number there is no payload.
  if (version === 1) {
    if (!hasKey || (flags & SEQUENCE_PRESENT) === 0) return LAYER_NONE;
    return announceTunnel(packet, TUNNEL_GRE, view.getUint16(keyAt + 2), layerOfTunnelType(protocolType));
  }
  return announceTunnel(packet, TUNNEL_GRE, hasKey ? view.getUint32(keyAt) : -1, layerOfTunnelType(protocolType));
}
