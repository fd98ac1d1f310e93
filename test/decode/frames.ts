/** Frames made by hand: each function wraps the bytes after it in one header, so that `ethernet(IPV4, ipv4({ protocol: 6 }, tcp({}, [])))` reads from the outside in. */
import { decodeFrame } from '../../src/decode/decode.ts';
import { Packet } from '../../src/decode/packet.ts';
import { parseIp } from '../../src/net/address.ts';

export type Bytes = readonly number[];

export const u16 = (n: number): number[] => [(n >> 8) & 255, n & 255];
export const u32 = (n: number): number[] => [(n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
export const zeros = (n: number): number[] => new Array<number>(n).fill(0);
export const text = (s: string): number[] => [...Buffer.from(s, 'latin1')];
export const hex = (s: string): number[] => [...Buffer.from(s.replace(/\s/g, ''), 'hex')];

export const CLIENT = '10.0.0.1';
export const SERVER = '10.0.0.2';
export const CLIENT6 = 'fd00::1';
export const SERVER6 = 'fd00::2';
const MAC = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

export const ETHERTYPE = {
  ipv4: 0x0800,
  arp: 0x0806,
  teb: 0x6558,
  vlan: 0x8100,
  ipv6: 0x86dd,
  mpls: 0x8847,
  ppp: 0x880b,
  pppoe: 0x8864,
  qinq: 0x88a8,
};
export const PROTOCOL = {
  icmp: 1,
  ipip: 4,
  tcp: 6,
  udp: 17,
  ipv6: 41,
  routing: 43,
  fragment: 44,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  none: 59,
  dstopts: 60,
  sctp: 132,
};

function address(ip: string): number[] {
  const parsed = parseIp(ip)!;
  return (parsed.family === 4 ? [parsed.words[3]] : parsed.words).flatMap(u32);
}

export const ethernet = (etherType: number, rest: Bytes): Bytes => [...MAC, ...u16(etherType), ...rest];
/** IEEE 802.3: a length instead of a type. */
export const ethernet8023 = (rest: Bytes, padding = 0): Bytes => [...MAC, ...u16(rest.length), ...rest, ...zeros(padding)];
export const snap = (etherType: number, rest: Bytes, organisation = 0): Bytes => [
  0xaa,
  0xaa,
  3,
  ...u32(organisation).slice(1),
  ...u16(etherType),
  ...rest,
];
export const vlan = (id: number, etherType: number, rest: Bytes): Bytes => [...u16(0x2000 | id), ...u16(etherType), ...rest];
export const mpls = (label: number, bottom: boolean, rest: Bytes): Bytes => [...u32((label << 12) | (bottom ? 0x100 : 0) | 64), ...rest];
export const pppoe = (rest: Bytes, padding = 0): Bytes => [0x11, 0, ...u16(7), ...u16(rest.length), ...rest, ...zeros(padding)];
export const sll = (protocol: number, rest: Bytes, packetType = 0, hardware = 1): Bytes => [
  ...u16(packetType),
  ...u16(hardware),
  ...u16(6),
  ...zeros(8),
  ...u16(protocol),
  ...rest,
];
export const sll2 = (protocol: number, rest: Bytes, ifindex = 2, packetType = 4, hardware = 1): Bytes => [
  ...u16(protocol),
  0,
  0,
  ...u32(ifindex),
  ...u16(hardware),
  packetType,
  6,
  ...zeros(8),
  ...rest,
];

export interface Ipv4 {
  src?: string;
  dst?: string;
  protocol: number;
  id?: number;
  /** Offset in bytes. */
  offset?: number;
  more?: boolean;
  /** A multiple of four bytes. */
  options?: Bytes;
  /** Instead of the true total length. */
  length?: number;
  versionAndLength?: number;
}
export function ipv4(header: Ipv4, rest: Bytes): Bytes {
  const options = header.options ?? [];
  return [
    header.versionAndLength ?? 0x45 + options.length / 4,
    0,
    ...u16(header.length ?? 20 + options.length + rest.length),
    ...u16(header.id ?? 1),
    ...u16((header.more ? 0x2000 : 0) | ((header.offset ?? 0) >> 3)),
    64,
    header.protocol,
    0,
    0,
    ...address(header.src ?? CLIENT),
    ...address(header.dst ?? SERVER),
    ...options,
    ...rest,
  ];
}

export interface Ipv6 {
  src?: string;
  dst?: string;
  next: number;
  length?: number;
}
export function ipv6(header: Ipv6, rest: Bytes): Bytes {
  return [
    0x60,
    0,
    0,
    0,
    ...u16(header.length ?? rest.length),
    header.next,
    64,
    ...address(header.src ?? CLIENT6),
    ...address(header.dst ?? SERVER6),
    ...rest,
  ];
}
/** Hop-by-hop, routing and destination options: a next header, a length in units of 8 bytes, `8 * units + 6` bytes. */
export const extension = (next: number, units: number, rest: Bytes): Bytes => [
  next,
  units,
  1,
  units * 8 + 4,
  ...zeros(units * 8 + 4),
  ...rest,
];
export const fragmentHeader = (next: number, offset: number, more: boolean, id: number, rest: Bytes): Bytes => [
  next,
  0,
  ...u16(offset | (more ? 1 : 0)),
  ...u32(id),
  ...rest,
];
export const ah = (next: number, rest: Bytes): Bytes => [next, 4, 0, 0, ...u32(1), ...u32(1), ...zeros(12), ...rest];

export interface Tcp {
  src?: number;
  dst?: number;
  seq?: number;
  ack?: number;
  flags?: number;
  window?: number;
  options?: Bytes;
  /** Instead of the true data offset, in words. */
  dataOffset?: number;
}
export function tcp(header: Tcp, rest: Bytes): Bytes {
  const options = header.options ?? [];
  const dataOffset = header.dataOffset ?? 5 + options.length / 4;
  return [
    ...u16(header.src ?? 40000),
    ...u16(header.dst ?? 80),
    ...u32(header.seq ?? 1000),
    ...u32(header.ack ?? 0),
    ...u16((dataOffset << 12) | (header.flags ?? 0x10)),
    ...u16(header.window ?? 512),
    0,
    0,
    0,
    0,
    ...options,
    ...rest,
  ];
}
export const udp = (src: number, dst: number, rest: Bytes, length = 8 + rest.length): Bytes => [
  ...u16(src),
  ...u16(dst),
  ...u16(length),
  0,
  0,
  ...rest,
];
export const icmp = (type: number, code: number, rest: Bytes, word = 0): Bytes => [type, code, 0, 0, ...u32(word), ...rest];
export const sctp = (src: number, dst: number, rest: Bytes): Bytes => [...u16(src), ...u16(dst), ...zeros(8), ...rest];
export const gre = (protocolType: number, rest: Bytes, flags = 0, optional: Bytes = []): Bytes => [
  ...u16(flags),
  ...u16(protocolType),
  ...optional,
  ...rest,
];
export const vxlan = (vni: number, rest: Bytes, flags = 0x08000000): Bytes => [...u32(flags), ...u32(vni << 8), ...rest];
export const geneve = (vni: number, protocolType: number, rest: Bytes, options: Bytes = []): Bytes => [
  options.length / 4,
  0,
  ...u16(protocolType),
  ...u32(vni << 8),
  ...options,
  ...rest,
];

/** Decodes a frame that lies somewhere in a larger block, as frames do. */
export function decode(
  frame: Bytes,
  linkType = 1,
  wireLength = frame.length,
  capturedLength = frame.length,
  packet = new Packet(),
): Packet {
  const block = Uint8Array.from([0xff, 0xff, 0xff, ...frame, 0xff, 0xff]);
  decodeFrame(packet, linkType, block, new DataView(block.buffer), 3, capturedLength, wireLength, 1e9);
  return packet;
}
