/** IPv6 header, 40 bytes. Source: RFC 8200 section 3; RFC 2675 (jumbograms). */
import { IPPROTO_HOPOPTS, layerOfProtocol } from './ip-protocol.ts';
import { LAYER_IPV6, STOP_LENGTH, stop, stopMalformed, stopShort } from './layer.ts';
import { IPPROTO_TCP, IPPROTO_UDP, type Packet } from './packet.ts';
import { enterTunnel } from './tunnel.ts';

const IPV6_HEADER_LEN = 40;
const MAX_PAYLOAD_LEN = 65535;
const OPTION_JUMBO = 0xc2;
/** A hop-by-hop header that holds the jumbo option alone. */
const JUMBO_HEADER_LEN = 8;

export function decodeIpv6(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  if (packet.limit - at < IPV6_HEADER_LEN) return stopShort(packet, LAYER_IPV6, IPV6_HEADER_LEN);
  if (view.getUint8(at) >> 4 !== 6) return stopMalformed(packet, LAYER_IPV6);
  const onWire = packet.wireEnd - at;
  const saidLength = view.getUint16(at + 4);
  const length = IPV6_HEADER_LEN + (saidLength === 0 ? superPacketPayload(packet, view) : saidLength);
  if (length > onWire) stop(packet, LAYER_IPV6, STOP_LENGTH, length);

  if (packet.ipVersion !== 0) enterTunnel(packet);
  packet.ipVersion = 6;
  packet.src0 = view.getInt32(at + 8);
  packet.src1 = view.getInt32(at + 12);
  packet.src2 = view.getInt32(at + 16);
  packet.src3 = view.getInt32(at + 20);
  packet.dst0 = view.getInt32(at + 24);
  packet.dst1 = view.getInt32(at + 28);
  packet.dst2 = view.getInt32(at + 32);
  packet.dst3 = view.getInt32(at + 36);
  packet.protocol = view.getUint8(at + 6);
  if (length < onWire) {
    packet.ipLength = length;
    const end = at + length;
    packet.wireEnd = end;
    if (end < packet.limit) packet.limit = end;
  } else packet.ipLength = onWire;
  packet.cursor = at + IPV6_HEADER_LEN;
  return layerOfProtocol(packet);
}

/**
 * The payload length behind a length field of 0: the jumbo option's where there is one; the frame's where the next header cannot be without bytes
 * (an offload super-packet); else truly 0, and what follows is padding.
 */
function superPacketPayload(packet: Packet, view: DataView): number {
  const at = packet.cursor + IPV6_HEADER_LEN;
  const next = view.getUint8(packet.cursor + 6);
  const rest = packet.wireEnd - at;
  if (next === IPPROTO_HOPOPTS && packet.limit - at >= JUMBO_HEADER_LEN && view.getUint16(at + 2) === (OPTION_JUMBO << 8) + 4)
    return view.getUint32(at + 4);
  return next === IPPROTO_TCP || next === IPPROTO_UDP || rest > MAX_PAYLOAD_LEN ? rest : 0;
}
