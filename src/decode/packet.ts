/**
 * One decoded packet: flat, numbers only, reused for every frame. Decoders fill it; the flow table reads it.
 *
 * Addresses are four signed 32-bit words (see net/address.ts). Offsets are into `bytes`. Lengths are bytes.
 * A cut or broken packet is a value: fields read before the fault stay, `stopLayer` names the layer that could not be finished.
 */
export const IPPROTO_ICMP = 1;
export const IPPROTO_IPIP = 4;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;
export const IPPROTO_IPV6 = 41;
export const IPPROTO_GRE = 47;
export const IPPROTO_ICMPV6 = 58;
export const IPPROTO_SCTP = 132;

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_PSH = 0x08;
export const TCP_ACK = 0x10;

/** Layers by number (layer.ts), so that the packet stays free of strings; `layerNames` tells them to people. */
export const layerNames = [
  'none',
  'ethernet',
  'sll',
  'sll2',
  'null',
  'ppp',
  'vlan',
  'mpls',
  'pppoe',
  'ipv4',
  'ipv6',
  'ipv6-extension',
  'tcp',
  'udp',
  'icmp',
  'icmpv6',
  'sctp',
  'gre',
  'vxlan',
  'geneve',
  'link',
  'llc',
  'loop',
  'raw',
] as const;

/**
 * Tunnel kinds by number: 0 none, then these. `ipip` is IPv4 in IP (protocol 4), `ip6ip` IPv6 in IP (protocol 41), whichever version the outer header has: `outerVersion` tells.
 */
export const tunnelNames = ['none', 'gre', 'ipip', 'vxlan', 'geneve', 'ip6ip'] as const;

/**
 * Why decoding stopped, by number. `snapshot`: the bytes were on the wire and were not captured. `length`: the frame, or a length field around this layer, ends too early.
 * `malformed`: the bytes are there and cannot be right. `depth`: more layers than are followed. `unsupported`: a link type that is not read.
 */
export const stopCauseNames = ['none', 'snapshot', 'length', 'malformed', 'depth', 'unsupported'] as const;

export class Packet {
  /** The block that holds the frame, and a view of the same bytes. */
  bytes: Uint8Array = new Uint8Array(0);
  view: DataView = new DataView(new ArrayBuffer(0));
  /** First byte of the frame and first byte after what was captured of it. */
  start = 0;
  end = 0;
  wireLength = 0;
  timeNs = 0.5; // not a small integer: the field is a double from the first store on

  /** The walk's own state. The next header starts at `cursor`; `limit` ends what was captured of the innermost packet, `wireEnd` that packet itself (`limit <= wireEnd`). */
  cursor = 0;
  limit = 0;
  wireEnd = 0;
  /** A tunnel header was read, and becomes the packet's when an inner IP header follows. */
  pendingTunnel = 0;
  pendingTunnelId = -1;

  /** Interface index within the namespace: of the SLL2 header, else 0. */
  ifindex = 0;
  /** SLL packet type: 0 to us, 1 broadcast, 2 multicast, 3 other host, 4 from us; -1 unknown. */
  packetType = -1;
  /** Outermost VLAN id, -1 none. */
  vlan = -1;

  /** 4, 6, or 0 when the frame holds no IP packet that could be read. */
  ipVersion = 0;
  src0 = 0;
  src1 = 0;
  src2 = 0;
  src3 = 0;
  dst0 = 0;
  dst1 = 0;
  dst2 = 0;
  dst3 = 0;
  /** IANA protocol number of the innermost header reached. */
  protocol = 0;
  /**
   * IP total length as the header says (IPv6: 40 + payload length), never more than the frame had on the wire (a header that says more is a `stopCause` of `length`);
   * with a zero length field of a GSO super-packet, from the frame's length on the wire.
   */
  ipLength = 0;
  /**
   * Identification of a fragment and its offset in bytes; `fragment` false when whole (so is an IPv6 atomic fragment). Only the first fragment (offset 0) has ports.
   * A tunnel whose own packet is a fragment is not entered, so these always speak of the header whose addresses are above.
   * Fragments of one packet share source, destination, id and, in IPv4 only, protocol.
   */
  fragment = false;
  fragmentId = 0;
  fragmentOffset = 0;
  moreFragments = false;

  /** Ports in host order; 0 when the protocol has none or they were cut. `hasPorts` tells. */
  hasPorts = false;
  srcPort = 0;
  dstPort = 0;
  /** The 20 bytes of a sound TCP header were read: `ack`, `tcpFlags`, `window` hold. `seq` is also read where only 8 bytes are there, as in ICMP errors. */
  hasTcp = false;
  /** Unsigned 32-bit, as int32 bits: compare with `| 0` arithmetic. */
  seq = 0;
  ack = 0;
  /** The 8 flags of RFC 9293 and, as 0x100, AE (once NS). */
  tcpFlags = 0;
  /** As in the header, unscaled. */
  window = 0;
  /** SACK permitted, window scale etc. are not kept: nobody reads them yet. MSS of a SYN, 0 when absent. */
  mss = 0;
  icmpType = 0;
  icmpCode = 0;
  /** Identifier of an ICMP query or its reply (echo, timestamp, information, address mask, node information), else 0. */
  icmpId = 0;
  /** ICMP error: the packet it quotes starts here (an IP header), 0 when none. See {@link decodeQuoted} in decode.ts. */
  quoteOffset = 0;

  /**
   * Payload of the innermost header reached: what was captured of it is [payloadOffset, payloadOffset + payloadCaptured); its length on the wire is payloadLength.
   * All 0 where the transport header could not be finished.
   */
  payloadOffset = 0;
  payloadCaptured = 0;
  payloadLength = 0;

  /** Outermost tunnel: index into tunnelNames, its id (VNI, GRE key; -1 none) and the outer addresses. */
  tunnel = 0;
  tunnelId = -1;
  outerVersion = 0;
  outerSrc0 = 0;
  outerSrc1 = 0;
  outerSrc2 = 0;
  outerSrc3 = 0;
  outerDst0 = 0;
  outerDst1 = 0;
  outerDst2 = 0;
  outerDst3 = 0;

  /**
   * Where decoding stopped: index into layerNames, 0 when nothing is missing; index into stopCauseNames; the byte, and how many were needed and there.
   * The fields that precede the fault hold. An inner packet that cannot be read leaves the outer one in the fields above.
   */
  stopLayer = 0;
  stopCause = 0;
  stopOffset = 0;
  stopNeed = 0;
  stopHave = 0;
}
