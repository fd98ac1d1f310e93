/** Captures of random conversations among a few ends, so that flows meet again: every common kind of frame, some cut, some changed. The same numbers give the same bytes. */
import { LINKTYPE_ETHERNET, LINKTYPE_LINUX_SLL } from '../../src/decode/link-type.ts';
import { type Bytes, ETHERTYPE, ethernet, icmp, ipv4, ipv6, PROTOCOL, sll, sll2, tcp, udp, vlan } from '../decode/frames.ts';

/** Marsaglia's xorshift: the same numbers at every run. */
export function random(seed: number): (below: number) => number {
  let x = seed;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

const ADDRESSES = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '127.0.0.1', '192.168.1.9'];
const ADDRESSES6 = ['fd00::1', 'fd00::2', '::1', 'fd00:0:1::1', '::ffff:10.0.0.1'];
const PORTS = [53, 80, 443, 5353, 4789, 40_000, 40_001, 40_002, 15_053];
const FLAGS = [0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x110];
const PAYLOADS: readonly Bytes[] = [
  [],
  [],
  [22, 3, 1, 0, 5, 1, 0, 0, 1, 3],
  [0x47, 0x45, 0x54, 0x20],
  [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 0, 0, 1, 0, 1],
];

export interface Frame {
  readonly bytes: Uint8Array;
  readonly wire: number;
}

export function makeFrames(linkType: number, count: number, next: (below: number) => number): Frame[] {
  const pick = <T>(list: readonly T[]): T => list[next(list.length)]!;
  return Array.from({ length: count }, () => {
    const payload = pick(PAYLOADS);
    const [src, dst] = [pick(PORTS), pick(PORTS)];
    const kind = next(10);
    const segment =
      kind < 7
        ? tcp({ src, dst, flags: pick(FLAGS), seq: 1000 + next(40), ack: 2000 + next(40), window: next(3) }, payload)
        : kind < 9
          ? udp(src, dst, payload)
          : icmp(8, 0, payload, next(3) << 16);
    const protocol = kind < 7 ? PROTOCOL.tcp : kind < 9 ? PROTOCOL.udp : PROTOCOL.icmp;
    const six = next(4) === 0 && kind < 9;
    const packet = six
      ? ipv6({ next: protocol, src: pick(ADDRESSES6), dst: pick(ADDRESSES6) }, segment)
      : ipv4({ protocol, src: pick(ADDRESSES), dst: pick(ADDRESSES) }, segment);
    const etherType = six ? ETHERTYPE.ipv6 : ETHERTYPE.ipv4;
    const bytes = Uint8Array.from(
      linkType === LINKTYPE_ETHERNET
        ? next(8) === 0
          ? ethernet(ETHERTYPE.vlan, vlan(7, etherType, packet))
          : ethernet(etherType, packet)
        : linkType === LINKTYPE_LINUX_SLL
          ? sll(etherType, packet, next(5))
          : sll2(etherType, packet, 1 + next(3), next(5)),
    );
    const wire = bytes.length;
    if (next(6) === 0) bytes[next(bytes.length)] = next(256);
    return { bytes: next(10) === 0 ? bytes.subarray(0, next(bytes.length)) : bytes, wire };
  });
}

/** A pcap file with nanoseconds; now and then nothing comes for longer than a flow without connection lives. */
export function capture(linkType: number, frames: readonly Frame[], next: (below: number) => number): Uint8Array {
  const file = Buffer.alloc(24 + frames.reduce((sum, { bytes }) => sum + 16 + bytes.length, 0));
  file.writeUInt32LE(0xa1b23c4d, 0);
  file.writeUInt16LE(2, 4);
  file.writeUInt16LE(4, 6);
  file.writeUInt32LE(65_535, 16);
  file.writeUInt32LE(linkType, 20);
  let at = 24;
  let second = 1_700_000_000;
  for (const { bytes, wire } of frames) {
    if (next(2000) === 0) second += 31;
    file.writeUInt32LE(second, at);
    file.writeUInt32LE(next(1e9), at + 4);
    file.writeUInt32LE(bytes.length, at + 8);
    file.writeUInt32LE(wire, at + 12);
    file.set(bytes, at + 16);
    at += 16 + bytes.length;
  }
  return file;
}
