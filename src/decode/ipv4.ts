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
  // Whole words, since each read has its price: version, header length, service, total length; identification and fragment; time to live and protocol.
  const first = view.getInt32(at);
  const headerLength = ((first >> 24) & 15) << 2;
  if (first >>> 28 !== 4 || headerLength < IPV4_HEADER_LEN) return stopMalformed(packet, LAYER_IPV4);
  const onWire = packet.wireEnd - at;
  const saidLength = first & 0xffff;
  // 0 is what a segmentation-offload super-packet (above 65535 bytes, or not finished by the driver) says of itself.
  const length = saidLength === 0 ? onWire : saidLength;
  if (length < headerLength) return stopMalformed(packet, LAYER_IPV4);
  if (length > onWire) stop(packet, LAYER_IPV4, STOP_LENGTH, length);

  if (packet.ipVersion !== 0) enterTunnel(packet);
  packet.ipVersion = 4;
  packet.src3 = view.getInt32(at + 12);
  packet.dst3 = view.getInt32(at + 16);
  packet.protocol = (view.getInt32(at + 8) >> 16) & 0xff;
  if (length < onWire) {
    packet.ipLength = length;
    const end = at + length;
    packet.wireEnd = end;
    if (end < packet.limit) packet.limit = end;
  } else packet.ipLength = onWire;

  packet.cursor = at + headerLength;
  const second = view.getInt32(at + 4);
  if ((second & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) !== 0) {
    packet.fragment = true;
    packet.fragmentId = second >>> 16;
    packet.fragmentOffset = (second & FRAGMENT_OFFSET) << 3;
    packet.moreFragments = (second & MORE_FRAGMENTS) !== 0;
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
