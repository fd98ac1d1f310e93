/**
 * IPv6 extension headers, and AH, which IPv4 has too: hop-by-hop, routing, destination options, fragment. Source: RFC 8200 section 4; RFC 4302 section 2.
 */
import { IPPROTO_AH, IPPROTO_DSTOPTS, IPPROTO_FRAGMENT, IPPROTO_HOPOPTS, IPPROTO_ROUTING, layerOfProtocol } from './ip-protocol.ts';
import { LAYER_IPV6_EXTENSION, LAYER_NONE, STOP_DEPTH, stop, stopShort } from './layer.ts';
import { setPayload } from './narrow.ts';
import type { Packet } from './packet.ts';

const FRAGMENT_HEADER_LEN = 8;
/** More than any sane sender makes; the number that Suricata chose too. */
const MAX_EXTENSIONS = 16;

export function decodeIpv6Extensions(packet: Packet, view: DataView): number {
  for (let count = 0; count < MAX_EXTENSIONS; count++) {
    const at = packet.cursor;
    if (packet.limit - at < 2) return stopShort(packet, LAYER_IPV6_EXTENSION, 8);
    const next = view.getUint8(at);
    switch (packet.protocol) {
      case IPPROTO_FRAGMENT: {
        if (packet.limit - at < FRAGMENT_HEADER_LEN) return stopShort(packet, LAYER_IPV6_EXTENSION, FRAGMENT_HEADER_LEN);
        packet.cursor = at + FRAGMENT_HEADER_LEN;
        packet.protocol = next;
        if (readFragment(packet, view, at)) {
          setPayload(packet, packet.cursor);
          return LAYER_NONE;
        }
        break;
      }
      default: {
        const units = view.getUint8(at + 1);
        const length = packet.protocol === IPPROTO_AH ? (units + 2) << 2 : (units + 1) << 3;
        if (packet.limit - at < length) return stopShort(packet, LAYER_IPV6_EXTENSION, length);
        packet.cursor = at + length;
        packet.protocol = next;
      }
    }
    if (!isExtension(packet)) return layerOfProtocol(packet);
  }
  return stop(packet, LAYER_IPV6_EXTENSION, STOP_DEPTH, 0);
}

/** Keeps the fragment header at `at`; true for a later fragment, which holds no headers. Offset 0 and no more to come is a whole packet (RFC 6946). */
function readFragment(packet: Packet, view: DataView, at: number): boolean {
  const offsetAndMore = view.getUint16(at + 2);
  const offset = offsetAndMore & 0xfff8;
  const more = (offsetAndMore & 1) !== 0;
  if (offset === 0 && !more) return false;
  packet.fragment = true;
  packet.fragmentId = view.getInt32(at + 4);
  packet.fragmentOffset = offset;
  packet.moreFragments = more;
  return offset !== 0;
}

function isExtension(packet: Packet): boolean {
  switch (packet.protocol) {
    case IPPROTO_AH:
      return true;
    case IPPROTO_HOPOPTS:
    case IPPROTO_ROUTING:
    case IPPROTO_FRAGMENT:
    case IPPROTO_DSTOPTS:
      return packet.ipVersion === 6;
    default:
      return false;
  }
}
