/** IPv4 header, 20 to 60 bytes. Options are skipped, checksums not judged (offload leaves them unset on frames we send). Source: RFC 791 section 3.1. */
import { layerOfProtocol } from './ip-protocol.ts';
import { LAYER_IPV4, LAYER_NONE, STOP_LENGTH, stop, stopMalformed, stopShort } from './layer.ts';
import { setPayload } from './narrow.ts';
import type { Packet } from './packet.ts';
import { enterTunnel } from './tunnel.ts';

const IPV4_HEADER_LEN = 20;
const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_OFFSET = 0x1fff;

export function decodeIpv4(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  if (packet.limit - at < IPV4_HEADER_LEN) return stopShort(packet, LAYER_IPV4, IPV4_HEADER_LEN);
  const versionAndLength = view.getUint8(at);
  const headerLength = (versionAndLength & 15) << 2;
  if (versionAndLength >> 4 !== 4 || headerLength < IPV4_HEADER_LEN) return stopMalformed(packet, LAYER_IPV4);
  const onWire = packet.wireEnd - at;
  const saidLength = view.getUint16(at + 2);
  // 0 is what a segmentation-offload super-packet (above 65535 bytes, or not finished by the driver) says of itself.
  const length = saidLength === 0 ? onWire : saidLength;
  if (length < headerLength) return stopMalformed(packet, LAYER_IPV4);
  if (length > onWire) stop(packet, LAYER_IPV4, STOP_LENGTH, length);

  if (packet.ipVersion !== 0) enterTunnel(packet);
  packet.ipVersion = 4;
  packet.src0 = 0;
  packet.src1 = 0;
  packet.src2 = 0;
  packet.src3 = view.getInt32(at + 12);
  packet.dst0 = 0;
  packet.dst1 = 0;
  packet.dst2 = 0;
  packet.dst3 = view.getInt32(at + 16);
  packet.protocol = view.getUint8(at + 9);
  if (length < onWire) {
    packet.ipLength = length;
    const end = at + length;
    packet.wireEnd = end;
    if (end < packet.limit) packet.limit = end;
  } else packet.ipLength = onWire;

  packet.cursor = at + headerLength;
  const fragment = view.getUint16(at + 6);
  if ((fragment & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) !== 0) {
    packet.fragment = true;
    packet.fragmentId = view.getUint16(at + 4);
    packet.fragmentOffset = (fragment & FRAGMENT_OFFSET) << 3;
    packet.moreFragments = (fragment & MORE_FRAGMENTS) !== 0;
    if (packet.fragmentOffset !== 0) {
      setPayload(packet, packet.cursor);
      return LAYER_NONE;
    }
  }
  if (packet.cursor > packet.limit) {
    packet.cursor = at;
    return stopShort(packet, LAYER_IPV4, headerLength);
  }
  return layerOfProtocol(packet);
}
