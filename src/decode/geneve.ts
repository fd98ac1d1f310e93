/**
 * Geneve header, 8 bytes and up to 252 of options: version and option length, flags, protocol type, VNI, reserved. Source: RFC 8926 section 3.4.
 * Any program may use this port, so a header with another version or reserved bits set is taken for the program's own data, not for a tunnel.
 */
import { layerOfTunnelType } from './ether-type.ts';
import { LAYER_GENEVE, LAYER_NONE, stopShort } from './layer.ts';
import type { Packet } from './packet.ts';
import { announceTunnel, TUNNEL_GENEVE } from './tunnel.ts';

const GENEVE_HEADER_LEN = 8;
const RESERVED_FLAGS = 0x3f;

export function decodeGeneve(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  if (packet.limit - at < GENEVE_HEADER_LEN) return stopShort(packet, LAYER_GENEVE, GENEVE_HEADER_LEN);
  const versionAndOptions = view.getUint8(at);
  const vniAndReserved = view.getUint32(at + 4);
  if (versionAndOptions >> 6 !== 0 || (view.getUint8(at + 1) & RESERVED_FLAGS) !== 0 || (vniAndReserved & 0xff) !== 0) return LAYER_NONE;
  const length = GENEVE_HEADER_LEN + ((versionAndOptions & 0x3f) << 2);
  if (packet.limit - at < length) return stopShort(packet, LAYER_GENEVE, length);
  packet.cursor = at + length;
  return announceTunnel(packet, TUNNEL_GENEVE, vniAndReserved >>> 8, layerOfTunnelType(view.getUint16(at + 2)));
}
