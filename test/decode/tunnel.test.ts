import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_LAYERS } from '../../src/decode/decode.ts';
import {
  type Bytes,
  decode,
  ETHERTYPE,
  ethernet,
  fragmentHeader,
  geneve,
  gre,
  ipv4,
  ipv6,
  mpls,
  PROTOCOL,
  tcp,
  u16,
  u32,
  udp,
  vlan,
  vxlan,
  zeros,
} from './frames.ts';
import { summary } from './summary.ts';

const RAW = 101;
const segment = tcp({ flags: 2 }, []);
const v4 = ipv4({ protocol: 6 }, segment);
const v6 = ipv6({ next: 6 }, segment);
const frame4 = ethernet(ETHERTYPE.ipv4, v4);
const V4 = 'tcp 10.0.0.1:40000 > 10.0.0.2:80 [S] seq 1000 ack 0 win 512; ip 40; payload 0/0';
const V6 = 'tcp fd00::1:40000 > fd00::2:80 [S] seq 1000 ack 0 win 512; ip 60; payload 0/0';
const A = '192.0.2.1';
const B = '192.0.2.2';
const NODES = '192.0.2.1 > 192.0.2.2';
const NODES6 = '2001:db8::1 > 2001:db8::2';
const over4 = (protocol: number, rest: Bytes) => ipv4({ protocol, src: A, dst: B }, rest);
const over6 = (next: number, rest: Bytes) => ipv6({ next, src: '2001:db8::1', dst: '2001:db8::2' }, rest);
const overUdp = (port: number, rest: Bytes) => over4(17, udp(50000, port, rest));

const cases: readonly [name: string, packet: Bytes, expected: string][] = [
  ['IPv4 in IPv4', over4(4, v4), `${V4}; in ipip ${NODES}`],
  ['IPv6 in IPv4', over4(41, v6), `${V6}; in ip6ip ${NODES}`],
  ['IPv4 in IPv6', over6(4, v4), `${V4}; in ipip ${NODES6}`],
  ['IPv6 in IPv6', over6(41, v6), `${V6}; in ip6ip ${NODES6}`],
  ['GRE with IPv4', over4(47, gre(0x0800, v4)), `${V4}; in gre ${NODES}`],
  ['GRE with IPv6', over4(47, gre(0x86dd, v6)), `${V6}; in gre ${NODES}`],
  ['GRE in IPv6', over6(47, gre(0x0800, v4)), `${V4}; in gre ${NODES6}`],
  ['GRE with a key', over4(47, gre(0x0800, v4, 0x2000, u32(0xfffffffe))), `${V4}; in gre 4294967294 ${NODES}`],
  [
    'GRE with checksum, key and sequence number',
    over4(47, gre(0x0800, v4, 0xb000, [...u32(0), ...u32(5), ...u32(1)])),
    `${V4}; in gre 5 ${NODES}`,
  ],
  ['GRE with a bridged frame', over4(47, gre(ETHERTYPE.teb, frame4)), `${V4}; in gre ${NODES}`],
  ['NVGRE', over4(47, gre(ETHERTYPE.teb, frame4, 0x2000, u32((5001 << 8) | 7))), `${V4}; in gre ${(5001 << 8) | 7} ${NODES}`],
  ['GRE with MPLS', over4(47, gre(ETHERTYPE.mpls, mpls(16, true, v4))), `${V4}; in gre ${NODES}`],
  [
    'GRE of PPTP',
    over4(47, gre(ETHERTYPE.ppp, [0xff, 3, 0, 0x21, ...v4], 0x3081, [...u16(44), ...u16(12), ...u32(1), ...u32(1)])),
    `${V4}; in gre 12 ${NODES}`,
  ],
  [
    'an acknowledgment of PPTP',
    over4(47, gre(ETHERTYPE.ppp, [], 0x2081, [...u16(0), ...u16(12), ...u32(1)])),
    `protocol 47 ${NODES}; ip 32; payload 12/12`,
  ],
  ['GRE with source routes', over4(47, gre(0x0800, v4, 0x4000)), `protocol 47 ${NODES}; ip 64; payload 44/44; stop gre malformed`],
  ['GRE of version 2', over4(47, gre(0x0800, v4, 2)), `protocol 47 ${NODES}; ip 64; payload 44/44; stop gre malformed`],
  ['GRE with something else', over4(47, gre(0x88be, frame4)), `protocol 47 ${NODES}; ip 78; payload 58/58`],
  ['GRE cut within its key', over4(47, gre(0x0800, [0, 0], 0x2000)), `protocol 47 ${NODES}; ip 26; payload 6/6; stop gre length 6/8`],
  [
    'GRE in GRE keeps the outermost',
    over4(47, gre(0x0800, ipv4({ protocol: 47, src: '198.51.100.1' }, gre(0x86dd, v6)), 0x2000, u32(1))),
    `${V6}; in gre 1 ${NODES}`,
  ],
  ['VXLAN', overUdp(4789, vxlan(42, frame4)), `${V4}; in vxlan 42 ${NODES}`],
  ['VXLAN on the port of Linux', overUdp(8472, vxlan(1, frame4)), `${V4}; in vxlan 1 ${NODES}`],
  ['VXLAN in IPv6', over6(17, udp(50000, 4789, vxlan(0xffffff, frame4))), `${V4}; in vxlan 16777215 ${NODES6}`],
  [
    'VXLAN with a VLAN inside',
    overUdp(4789, vxlan(42, ethernet(ETHERTYPE.vlan, vlan(5, ETHERTYPE.ipv6, v6)))),
    `${V6}; vlan 5; in vxlan 42 ${NODES}`,
  ],
  ['VXLAN with a group', overUdp(4789, vxlan(42, frame4, 0x88480007)), `${V4}; in vxlan 42 ${NODES}`],
  [
    'VXLAN with ARP inside leaves the outer flow',
    overUdp(4789, vxlan(42, ethernet(ETHERTYPE.arp, zeros(28)))),
    `udp 192.0.2.1:50000 > 192.0.2.2:4789; ip 78; payload 50/50`,
  ],
  [
    'data on the port of VXLAN',
    overUdp(8472, [0x12, 0x34, 0x81, 0x80, ...zeros(40)]),
    `udp 192.0.2.1:50000 > 192.0.2.2:8472; ip 72; payload 44/44`,
  ],
  [
    'data on the port of VXLAN that almost looks like it',
    overUdp(4789, [8, 0, 0, 0, 0, 0, 1, 9, ...frame4]),
    `udp 192.0.2.1:50000 > 192.0.2.2:4789; ip 90; payload 62/62`,
  ],
  [
    'an answer from the port of VXLAN',
    over4(17, udp(4789, 50000, vxlan(42, frame4))),
    `udp 192.0.2.1:4789 > 192.0.2.2:50000; ip 90; payload 62/62`,
  ],
  ['Geneve with a frame', overUdp(6081, geneve(9, ETHERTYPE.teb, frame4)), `${V4}; in geneve 9 ${NODES}`],
  ['Geneve with IPv4', overUdp(6081, geneve(9, ETHERTYPE.ipv4, v4)), `${V4}; in geneve 9 ${NODES}`],
  ['Geneve with options', overUdp(6081, geneve(9, ETHERTYPE.ipv6, v6, zeros(12))), `${V6}; in geneve 9 ${NODES}`],
  ['Geneve with 252 bytes of options', overUdp(6081, geneve(9, ETHERTYPE.teb, frame4, zeros(252))), `${V4}; in geneve 9 ${NODES}`],
  [
    'Geneve with options beyond the packet',
    overUdp(6081, [0x3f, ...geneve(9, ETHERTYPE.teb, frame4).slice(1)]),
    `udp 192.0.2.1:50000 > 192.0.2.2:6081; ip 90; payload 62/62; stop geneve length 62/260`,
  ],
  [
    'Geneve of version 1',
    overUdp(6081, [0x40, ...geneve(9, ETHERTYPE.teb, frame4).slice(1)]),
    `udp 192.0.2.1:50000 > 192.0.2.2:6081; ip 90; payload 62/62`,
  ],
  [
    'a tunnel whose inside is cut leaves the outer flow',
    overUdp(4789, vxlan(42, frame4.slice(0, 30))),
    `udp 192.0.2.1:50000 > 192.0.2.2:4789; ip 66; payload 38/38; stop ipv4 length 16/20`,
  ],
  [
    'an inside with a broken length leaves the outer flow',
    over4(4, ipv4({ protocol: 6, length: 8 }, segment)),
    `protocol 4 ${NODES}; ip 60; payload 40/40; stop ipv4 malformed`,
  ],
  [
    'an inner fragment',
    over4(4, ipv4({ protocol: 17, id: 3, offset: 8 }, zeros(30))),
    `udp 10.0.0.1 > 10.0.0.2; ip 50; payload 30/30; fragment 3 at 8; in ipip ${NODES}`,
  ],
  [
    'a fragment of a tunnel is not entered',
    ipv4({ protocol: 4, src: A, dst: B, id: 8, more: true }, v4),
    `protocol 4 ${NODES}; ip 60; payload 40/40; fragment 8 at 0+`,
  ],
  [
    'a fragment of GRE is not entered',
    ipv4({ protocol: 47, src: A, dst: B, id: 8, more: true }, gre(0x0800, v4)),
    `protocol 47 ${NODES}; ip 64; payload 44/44; fragment 8 at 0+`,
  ],
  [
    'a fragment of VXLAN is not entered',
    over6(44, fragmentHeader(17, 0, true, 8, udp(1, 4789, vxlan(1, frame4)))),
    `udp 2001:db8::1:1 > 2001:db8::2:4789; ip 118; payload 62/62; fragment 8 at 0+`,
  ],
];

for (const [name, packet, expected] of cases)
  test(`decodeFrame() reads ${name}`, () => {
    assert.equal(summary(decode(packet, RAW)), expected);
  });

test('decodeFrame() follows nested tunnels to a fixed depth, and says so', () => {
  for (let depth = 1; depth <= 64; depth++) {
    let packet: Bytes = v4;
    for (let i = 0; i < depth; i++) packet = ipv4({ protocol: PROTOCOL.ipip, src: A, dst: B }, packet);
    const line = summary(decode(packet, 228));
    if (depth + 2 <= MAX_LAYERS) assert.equal(line, `${V4}; in ipip ${NODES}`);
    else assert.match(line, /stop (ipv4|tcp) depth$/);
  }
});

test('decodeFrame() keeps nothing of one packet for the next', () => {
  const used = decode(
    overUdp(4789, vxlan(42, ethernet(ETHERTYPE.vlan, vlan(5, ETHERTYPE.ipv4, ipv4({ protocol: 17, id: 7, more: true }, [1]))))),
    RAW,
  );
  assert.notEqual(used.tunnel, 0);
  assert.equal(summary(decode(v4, RAW, v4.length, v4.length, used)), V4);
  assert.equal(summary(decode([], 1, 0, 0, used)), 'no ip; stop ethernet length 0/14');
});

test('decodeFrame() leaves nothing of an outer IPv6 address in an inner IPv4 one', () => {
  const p = decode(over6(PROTOCOL.ipip, v4), RAW);
  assert.deepEqual([p.src0, p.src1, p.src2, p.dst0, p.dst1, p.dst2], [0, 0, 0, 0, 0, 0]);
});
