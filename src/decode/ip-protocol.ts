/** What an IP protocol number announces. Source: Protocol Numbers (IANA). */
import {
  LAYER_GRE,
  LAYER_ICMP,
  LAYER_ICMPV6,
  LAYER_IPV4,
  LAYER_IPV6,
  LAYER_IPV6_EXTENSION,
  LAYER_NONE,
  LAYER_SCTP,
  LAYER_TCP,
  LAYER_UDP,
} from './layer.ts';
import { setPayload } from './narrow.ts';
import {
  IPPROTO_GRE,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_IPIP,
  IPPROTO_IPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  type Packet,
} from './packet.ts';
import { announceTunnel, TUNNEL_IP6IP, TUNNEL_IPIP } from './tunnel.ts';

export const IPPROTO_HOPOPTS = 0;
export const IPPROTO_ROUTING = 43;
export const IPPROTO_FRAGMENT = 44;
export const IPPROTO_AH = 51;
export const IPPROTO_NONE = 59;
export const IPPROTO_DSTOPTS = 60;

/**
 * The layer at the cursor, after an IP header (and its extensions) that announces `packet.protocol`. ICMP belongs to IPv4 and ICMPv6 to IPv6;
 * extension headers other than AH to IPv6. ESP and every unknown protocol end the walk in good order: what follows is the payload.
 */
export function layerOfProtocol(packet: Packet): number {
  switch (packet.protocol) {
    case IPPROTO_TCP:
      return LAYER_TCP;
    case IPPROTO_UDP:
      return LAYER_UDP;
    case IPPROTO_SCTP:
      return LAYER_SCTP;
    case IPPROTO_ICMP:
      if (packet.ipVersion === 4) return LAYER_ICMP;
      break;
    case IPPROTO_ICMPV6:
      if (packet.ipVersion === 6) return LAYER_ICMPV6;
      break;
    case IPPROTO_AH:
      return LAYER_IPV6_EXTENSION;
    case IPPROTO_HOPOPTS:
    case IPPROTO_ROUTING:
    case IPPROTO_FRAGMENT:
    case IPPROTO_DSTOPTS:
      if (packet.ipVersion === 6) return LAYER_IPV6_EXTENSION;
      break;
    case IPPROTO_GRE:
      setPayload(packet, packet.cursor);
      return packet.fragment ? LAYER_NONE : LAYER_GRE;
    case IPPROTO_IPIP:
      setPayload(packet, packet.cursor);
      return packet.fragment ? LAYER_NONE : announceTunnel(packet, TUNNEL_IPIP, -1, LAYER_IPV4);
    case IPPROTO_IPV6:
      setPayload(packet, packet.cursor);
      return packet.fragment ? LAYER_NONE : announceTunnel(packet, TUNNEL_IP6IP, -1, LAYER_IPV6);
    default:
      break;
  }
  setPayload(packet, packet.cursor);
  return LAYER_NONE;
}
