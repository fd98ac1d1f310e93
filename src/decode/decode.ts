/**
 * Decodes one frame: from the link layer to the transport header of the innermost IP packet.
 *
 * In      the bytes of a frame, its link type, its length on the wire, its time.
 * Out     a filled `Packet`; a cut or broken frame is a value (`stopLayer`), never an error.
 * Not     payloads (http1.ts, http2.ts, tls.ts, dns.ts), reassembly, checksums.
 *
 * Each layer is a file whose decoder reads at `packet.cursor` up to `packet.limit`, moves the cursor and returns the next layer.
 * To add one: the file, a number in layer.ts, a name in packet.ts, a line in `walk`.
 */
import { decodeEthernet } from './ethernet.ts';
import { decodeGeneve } from './geneve.ts';
import { decodeGre } from './gre.ts';
import { decodeIcmp, decodeIcmpv6 } from './icmp.ts';
import { decodeIpv4 } from './ipv4.ts';
import { decodeIpv6 } from './ipv6.ts';
import { decodeIpv6Extensions } from './ipv6-extension.ts';
import {
  LAYER_ETHERNET,
  LAYER_GENEVE,
  LAYER_GRE,
  LAYER_ICMP,
  LAYER_ICMPV6,
  LAYER_IPV4,
  LAYER_IPV6,
  LAYER_IPV6_EXTENSION,
  LAYER_LINK,
  LAYER_LLC,
  LAYER_LOOP,
  LAYER_MPLS,
  LAYER_NONE,
  LAYER_NULL,
  LAYER_PPP,
  LAYER_PPPOE,
  LAYER_RAW,
  LAYER_SCTP,
  LAYER_SLL,
  LAYER_SLL2,
  LAYER_TCP,
  LAYER_UDP,
  LAYER_VLAN,
  LAYER_VXLAN,
  STOP_DEPTH,
  STOP_UNSUPPORTED,
  stop,
} from './layer.ts';
import {
  LINKTYPE_ETHERNET,
  LINKTYPE_IPV4,
  LINKTYPE_IPV6,
  LINKTYPE_LINUX_SLL,
  LINKTYPE_LINUX_SLL2,
  LINKTYPE_LOOP,
  LINKTYPE_NULL,
  LINKTYPE_PPP,
  LINKTYPE_PPP_ETHER,
  LINKTYPE_PPP_HDLC,
  LINKTYPE_RAW,
  LINKTYPE_RAW_12,
  LINKTYPE_RAW_14,
} from './link-type.ts';
import { decodeLlc } from './llc.ts';
import { decodeMpls } from './mpls.ts';
import { decodeLoop, decodeNull, decodeRaw } from './null.ts';
import type { Packet } from './packet.ts';
import { decodePpp } from './ppp.ts';
import { decodePppoe } from './pppoe.ts';
import { decodeSctp } from './sctp.ts';
import { decodeSll, decodeSll2 } from './sll.ts';
import { decodeTcp } from './tcp.ts';
import { decodeUdp } from './udp.ts';
import { decodeVlan } from './vlan.ts';
import { decodeVxlan } from './vxlan.ts';

/** Layers followed in one frame; deeper nesting is a `stopCause` of `depth`. */
export const MAX_LAYERS = 24;

/**
 * Resets `packet` and fills it from the frame in [start, start + capturedLength) of `bytes`.
 *
 * @param view       a view whose offset 0 is that of `bytes`
 * @param wireLength length of the frame on the wire; one below `capturedLength` is taken for that
 * @param timeNs     nanoseconds since the run's base (net/time.ts)
 *
 * Never throws and allocates nothing. A frame of a link type that is not supported (link-type.ts) has `stopLayer` `link`.
 */
export function decodeFrame(
  packet: Packet,
  linkType: number,
  bytes: Uint8Array,
  view: DataView,
  start: number,
  capturedLength: number,
  wireLength: number,
  timeNs: number,
): void {
  packet.timeNs = timeNs;
  decodeBytes(packet, linkType, bytes, view, start, capturedLength, wireLength);
}

/** All but the time: so that `decodeFrame` is small enough to be inlined, and its time, a double, is not boxed for a call. */
function decodeBytes(
  packet: Packet,
  linkType: number,
  bytes: Uint8Array,
  view: DataView,
  start: number,
  capturedLength: number,
  wireLength: number,
): void {
  reset(packet);
  packet.bytes = bytes;
  packet.view = view;
  packet.start = start;
  packet.cursor = start;
  packet.end = packet.limit = Math.min(start + capturedLength, bytes.length);
  packet.wireLength = wireLength;
  packet.wireEnd = start + Math.max(wireLength, capturedLength);
  walk(packet, view, linkType === LINKTYPE_ETHERNET ? LAYER_ETHERNET : firstLayer(linkType));
}

/**
 * Decodes the packet that an ICMP error quotes, so that the error can be counted to that packet's flow. A quote is nearly always cut: `into.stopLayer` is then set,
 * and the ports are there where `into.hasPorts` says so.
 *
 * @returns false, with `into` reset, when `packet` quotes nothing
 */
export function decodeQuoted(packet: Packet, into: Packet): boolean {
  reset(into);
  if (packet.quoteOffset === 0) return false;
  into.bytes = packet.bytes;
  into.view = packet.view;
  into.start = into.cursor = packet.quoteOffset;
  into.end = into.limit = packet.limit;
  into.wireEnd = packet.wireEnd;
  into.wireLength = packet.wireEnd - packet.quoteOffset;
  into.timeNs = packet.timeNs;
  into.ifindex = packet.ifindex;
  walk(into, into.view, packet.ipVersion === 4 ? LAYER_IPV4 : LAYER_IPV6);
  return true;
}

/** The whole walk: layer after layer until none follows. */
function walk(packet: Packet, view: DataView, first: number): void {
  let layer = first;
  for (let depth = 0; depth < MAX_LAYERS; depth++) {
    switch (layer) {
      case LAYER_NONE:
        return;
      case LAYER_ETHERNET:
        layer = decodeEthernet(packet, view);
        break;
      case LAYER_IPV4:
        layer = decodeIpv4(packet, view);
        break;
      case LAYER_TCP:
        layer = decodeTcp(packet, view);
        break;
      case LAYER_UDP:
        layer = decodeUdp(packet, view);
        break;
      case LAYER_IPV6:
        layer = decodeIpv6(packet, view);
        break;
      case LAYER_SLL2:
        layer = decodeSll2(packet, view);
        break;
      case LAYER_SLL:
        layer = decodeSll(packet, view);
        break;
      case LAYER_VLAN:
        layer = decodeVlan(packet, view);
        break;
      case LAYER_ICMP:
        layer = decodeIcmp(packet, view);
        break;
      case LAYER_ICMPV6:
        layer = decodeIcmpv6(packet, view);
        break;
      case LAYER_IPV6_EXTENSION:
        layer = decodeIpv6Extensions(packet, view);
        break;
      case LAYER_VXLAN:
        layer = decodeVxlan(packet, view);
        break;
      case LAYER_GENEVE:
        layer = decodeGeneve(packet, view);
        break;
      case LAYER_GRE:
        layer = decodeGre(packet, view);
        break;
      case LAYER_SCTP:
        layer = decodeSctp(packet, view);
        break;
      case LAYER_RAW:
        layer = decodeRaw(packet, view);
        break;
      case LAYER_NULL:
        layer = decodeNull(packet, view);
        break;
      case LAYER_LOOP:
        layer = decodeLoop(packet, view);
        break;
      case LAYER_LLC:
        layer = decodeLlc(packet, view);
        break;
      case LAYER_MPLS:
        layer = decodeMpls(packet, view);
        break;
      case LAYER_PPPOE:
        layer = decodePppoe(packet, view);
        break;
      case LAYER_PPP:
        layer = decodePpp(packet, view);
        break;
      default:
        stop(packet, LAYER_LINK, STOP_UNSUPPORTED, 0);
        return;
    }
  }
  if (layer !== LAYER_NONE) stop(packet, layer, STOP_DEPTH, 0);
}

function firstLayer(linkType: number): number {
  switch (linkType) {
    case LINKTYPE_ETHERNET:
      return LAYER_ETHERNET;
    case LINKTYPE_LINUX_SLL2:
      return LAYER_SLL2;
    case LINKTYPE_LINUX_SLL:
      return LAYER_SLL;
    case LINKTYPE_RAW:
    case LINKTYPE_RAW_12:
    case LINKTYPE_RAW_14:
      return LAYER_RAW;
    case LINKTYPE_IPV4:
      return LAYER_IPV4;
    case LINKTYPE_IPV6:
      return LAYER_IPV6;
    case LINKTYPE_NULL:
      return LAYER_NULL;
    case LINKTYPE_LOOP:
      return LAYER_LOOP;
    case LINKTYPE_PPP:
    case LINKTYPE_PPP_HDLC:
      return LAYER_PPP;
    case LINKTYPE_PPP_ETHER:
      return LAYER_PPPOE;
    default:
      return LAYER_LINK;
  }
}

/** Everything but what `decodeFrame` sets and what a guard field makes void is cleared; the rare groups only when they were used. */
function reset(packet: Packet): void {
  packet.ifindex = 0;
  packet.packetType = -1;
  packet.vlan = -1;
  packet.ipVersion = 0;
  packet.src0 = packet.src1 = packet.src2 = packet.src3 = 0;
  packet.dst0 = packet.dst1 = packet.dst2 = packet.dst3 = 0;
  packet.protocol = 0;
  packet.ipLength = 0;
  packet.hasPorts = false;
  packet.srcPort = 0;
  packet.dstPort = 0;
  packet.hasTcp = false;
  packet.seq = 0;
  packet.ack = 0;
  packet.tcpFlags = 0;
  packet.window = 0;
  packet.mss = 0;
  packet.icmpType = 0;
  packet.icmpCode = 0;
  packet.icmpId = 0;
  packet.quoteOffset = 0;
  packet.payloadOffset = 0;
  packet.payloadCaptured = 0;
  packet.payloadLength = 0;
  packet.pendingTunnel = 0;
  packet.pendingTunnelId = -1;
  if (packet.fragment) {
    packet.fragment = false;
    packet.fragmentId = 0;
    packet.fragmentOffset = 0;
    packet.moreFragments = false;
  }
  if (packet.tunnel !== 0) {
    packet.tunnel = 0;
    packet.tunnelId = -1;
    packet.outerVersion = 0;
    packet.outerSrc0 = packet.outerSrc1 = packet.outerSrc2 = packet.outerSrc3 = 0;
    packet.outerDst0 = packet.outerDst1 = packet.outerDst2 = packet.outerDst3 = 0;
  }
  if (packet.stopLayer !== 0) {
    packet.stopLayer = 0;
    packet.stopCause = 0;
    packet.stopOffset = 0;
    packet.stopNeed = 0;
    packet.stopHave = 0;
  }
}
