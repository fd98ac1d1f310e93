/** A packet in one line, for tables of expectations. What is absent, whole and unremarkable is not printed. */
import { layerNames, type Packet, stopCauseNames, tunnelNames } from '../../src/decode/packet.ts';
import { formatV4, formatV6 } from '../../src/net/address.ts';

const FLAGS = ['F', 'S', 'R', 'P', 'A', 'U', 'E', 'C', 'N'];
const PROTOCOLS: { readonly [n: number]: string } = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmpv6', 132: 'sctp' };

function address(version: number, a: number, b: number, c: number, d: number): string {
  return version === 4 ? formatV4(d) : formatV6(a, b, c, d);
}

export function source(p: Packet): string {
  return address(p.ipVersion, p.src0, p.src1, p.src2, p.src3);
}
export function destination(p: Packet): string {
  return address(p.ipVersion, p.dst0, p.dst1, p.dst2, p.dst3);
}
export function outerSource(p: Packet): string {
  return address(p.outerVersion, p.outerSrc0, p.outerSrc1, p.outerSrc2, p.outerSrc3);
}
export function outerDestination(p: Packet): string {
  return address(p.outerVersion, p.outerDst0, p.outerDst1, p.outerDst2, p.outerDst3);
}

/** `tcp 10.0.0.1:40000 > 10.0.0.2:80 [SA] seq 1 ack 2 win 512; ip 44; payload 4/4; …` */
export function summary(p: Packet): string {
  const parts: string[] = [];
  if (p.ipVersion === 0) parts.push('no ip');
  else {
    const ports = p.hasPorts ? [`:${p.srcPort}`, `:${p.dstPort}`] : ['', ''];
    let head = `${PROTOCOLS[p.protocol] ?? `protocol ${p.protocol}`} ${source(p)}${ports[0]} > ${destination(p)}${ports[1]}`;
    if (p.hasTcp)
      head += ` [${FLAGS.filter((_, i) => (p.tcpFlags >> i) & 1).join('')}] seq ${p.seq >>> 0} ack ${p.ack >>> 0} win ${p.window}`;
    else if (p.seq !== 0) head += ` seq ${p.seq >>> 0}`;
    if (p.mss !== 0) head += ` mss ${p.mss}`;
    if (p.protocol === 1 || p.protocol === 58)
      head += ` ${p.icmpType}/${p.icmpCode}${p.icmpId === 0 ? '' : ` id ${p.icmpId}`}${p.quoteOffset === 0 ? '' : ' quotes'}`;
    parts.push(head, `ip ${p.ipLength}`, `payload ${p.payloadCaptured}/${p.payloadLength}`);
  }
  if (p.fragment) parts.push(`fragment ${p.fragmentId >>> 0} at ${p.fragmentOffset}${p.moreFragments ? '+' : ''}`);
  if (p.vlan !== -1) parts.push(`vlan ${p.vlan}`);
  if (p.ifindex !== 0) parts.push(`ifindex ${p.ifindex}`);
  if (p.packetType !== -1) parts.push(`type ${p.packetType}`);
  if (p.tunnel !== 0)
    parts.push(`in ${tunnelNames[p.tunnel]}${p.tunnelId === -1 ? '' : ` ${p.tunnelId}`} ${outerSource(p)} > ${outerDestination(p)}`);
  if (p.stopLayer !== 0)
    parts.push(`stop ${layerNames[p.stopLayer]} ${stopCauseNames[p.stopCause]}${p.stopNeed === 0 ? '' : ` ${p.stopHave}/${p.stopNeed}`}`);
  return parts.join('; ');
}

/** Every field but the block itself, for comparing two packets whole. */
export function fields(p: Packet): { [name: string]: unknown } {
  const { bytes: _bytes, view: _view, ...rest } = p;
  return rest;
}
