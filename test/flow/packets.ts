/** Decoded packets made by hand, for tests of what comes after decoding. */
import { IPPROTO_TCP, Packet, TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN } from '../../src/decode/packet.ts';
import { parseEndpoint, parseIp } from '../../src/net/address.ts';

/** `S`, `SA`, `A`, `PA`, `FA`, `R`, `RA`, as tcpdump abbreviates them. */
export function flagsOf(text: string): number {
  const bits: { [flag: string]: number } = { S: TCP_SYN, A: TCP_ACK, P: TCP_PSH, F: TCP_FIN, R: TCP_RST };
  return [...text].reduce((flags, flag) => flags | (bits[flag] ?? 0), 0);
}

export interface Shown {
  /** `10.0.0.1:1000`; an address alone where there are no ports. */
  from: string;
  to: string;
  protocol?: number;
  ms?: number;
  flags?: string;
  seq?: number;
  ack?: number;
  window?: number;
  payload?: number | string | Uint8Array;
  ifindex?: number;
  packetType?: number;
}

function endOf(text: string): { ip: string; port?: number } {
  return parseEndpoint(text) ?? { ip: text };
}

/** A packet as the decoder leaves it; TCP unless told, with one header of 20 bytes each. */
export function packetOf(shown: Shown): Packet {
  const packet = new Packet();
  const from = endOf(shown.from);
  const to = endOf(shown.to);
  const source = parseIp(from.ip)!;
  const destination = parseIp(to.ip)!;
  packet.ipVersion = source.family;
  [packet.src0, packet.src1, packet.src2, packet.src3] = source.words;
  [packet.dst0, packet.dst1, packet.dst2, packet.dst3] = destination.words;
  packet.protocol = shown.protocol ?? IPPROTO_TCP;
  packet.hasPorts = from.port !== undefined;
  packet.srcPort = from.port ?? 0;
  packet.dstPort = to.port ?? 0;
  packet.timeNs = 1e9 + (shown.ms ?? 0) * 1e6;
  packet.ifindex = shown.ifindex ?? 2;
  packet.packetType = shown.packetType ?? -1;
  const { payload = 0 } = shown;
  const bytes =
    typeof payload === 'number' ? new Uint8Array(payload) : typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload;
  packet.bytes = bytes;
  packet.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  packet.end = bytes.length;
  packet.payloadCaptured = bytes.length;
  packet.payloadLength = bytes.length;
  if (packet.protocol === IPPROTO_TCP) {
    packet.hasTcp = true;
    packet.tcpFlags = flagsOf(shown.flags ?? 'A');
    packet.seq = (shown.seq ?? 0) | 0;
    packet.ack = (shown.ack ?? 0) | 0;
    packet.window = shown.window ?? 1000;
  }
  packet.ipLength = (source.family === 4 ? 20 : 40) + (packet.protocol === IPPROTO_TCP ? 20 : 8) + bytes.length;
  packet.wireLength = packet.ipLength + 14;
  return packet;
}
