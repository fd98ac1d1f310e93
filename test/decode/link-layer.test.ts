import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Bytes,
  decode,
  ETHERTYPE,
  ethernet,
  ethernet8023,
  gre,
  ipv4,
  ipv6,
  mpls,
  PROTOCOL,
  pppoe,
  sll,
  sll2,
  snap,
  tcp,
  u16,
  udp,
  vlan,
  zeros,
} from './frames.ts';
import { summary } from './summary.ts';

const syn = tcp({ flags: 2 }, []);
const v4 = ipv4({ protocol: PROTOCOL.tcp }, syn);
const v6 = ipv6({ next: PROTOCOL.tcp }, syn);
const V4 = 'tcp 10.0.0.1:40000 > 10.0.0.2:80 [S] seq 1000 ack 0 win 512; ip 40; payload 0/0';
const V6 = 'tcp fd00::1:40000 > fd00::2:80 [S] seq 1000 ack 0 win 512; ip 60; payload 0/0';

const EN10MB = 1;
const cases: readonly [name: string, linkType: number, frame: Bytes, expected: string][] = [
  ['Ethernet with IPv4', EN10MB, ethernet(ETHERTYPE.ipv4, v4), V4],
  ['Ethernet with IPv6', EN10MB, ethernet(ETHERTYPE.ipv6, v6), V6],
  ['Ethernet padded to 60 bytes: the padding is no payload', EN10MB, ethernet(ETHERTYPE.ipv4, [...v4, ...zeros(6)]), V4],
  ['Ethernet with ARP', EN10MB, ethernet(ETHERTYPE.arp, zeros(28)), 'no ip'],
  ['Ethernet with LLDP', EN10MB, ethernet(0x88cc, zeros(28)), 'no ip'],
  ['Ethernet without anything behind it', EN10MB, ethernet(ETHERTYPE.ipv4, []), 'no ip; stop ipv4 length 0/20'],
  ['half an Ethernet header', EN10MB, zeros(9), 'no ip; stop ethernet length 9/14'],
  ['an empty frame', EN10MB, [], 'no ip; stop ethernet length 0/14'],
  ['IEEE 802.3 with SNAP', EN10MB, ethernet8023(snap(ETHERTYPE.ipv4, v4)), V4],
  ['IEEE 802.3 with SNAP of IEEE 802.1H', EN10MB, ethernet8023(snap(ETHERTYPE.ipv6, v6, 0xf8)), V6],
  ['IEEE 802.3 with SNAP of Cisco (CDP)', EN10MB, ethernet8023(snap(0x2000, zeros(20), 0x0c)), 'no ip'],
  ['IEEE 802.3 with SNAP and padding', EN10MB, ethernet8023(snap(ETHERTYPE.ipv4, v4), 9), V4],
  ['IEEE 802.3 with IP over LLC', EN10MB, ethernet8023([6, 6, 3, ...v4]), V4],
  ['IEEE 802.3 with a spanning tree', EN10MB, ethernet8023([0x42, 0x42, 3, ...zeros(35)]), 'no ip'],
  ['IEEE 802.3 with Novell raw IPX', EN10MB, ethernet8023([0xff, 0xff, ...zeros(30)]), 'no ip'],
  [
    'IEEE 802.3 whose length ends within SNAP',
    EN10MB,
    [...zeros(12), ...u16(4), ...snap(ETHERTYPE.ipv4, v4)],
    'no ip; stop llc length 4/8',
  ],
  ['VLAN', EN10MB, ethernet(ETHERTYPE.vlan, vlan(5, ETHERTYPE.ipv4, v4)), `${V4}; vlan 5`],
  ['VLAN 0, a priority tag', EN10MB, ethernet(ETHERTYPE.vlan, vlan(0, ETHERTYPE.ipv4, v4)), `${V4}; vlan 0`],
  ['QinQ keeps the outer id', EN10MB, ethernet(ETHERTYPE.qinq, vlan(100, ETHERTYPE.vlan, vlan(5, ETHERTYPE.ipv6, v6))), `${V6}; vlan 100`],
  ['QinQ of before the standard', EN10MB, ethernet(0x9100, vlan(7, ETHERTYPE.vlan, vlan(5, ETHERTYPE.ipv4, v4))), `${V4}; vlan 7`],
  ['VLAN with LLC and SNAP', EN10MB, ethernet(ETHERTYPE.vlan, vlan(5, 48, snap(ETHERTYPE.ipv4, v4))), `${V4}; vlan 5`],
  ['half a VLAN tag', EN10MB, ethernet(ETHERTYPE.vlan, [0, 5]), 'no ip; stop vlan length 2/4'],
  ['MPLS with IPv4', EN10MB, ethernet(ETHERTYPE.mpls, mpls(16, true, v4)), V4],
  ['MPLS, three labels, IPv6', EN10MB, ethernet(ETHERTYPE.mpls, mpls(16, false, mpls(17, false, mpls(18, true, v6)))), V6],
  [
    'MPLS with a control word and a bridged frame',
    EN10MB,
    ethernet(ETHERTYPE.mpls, mpls(16, true, [0, 0, 0, 0, ...ethernet(ETHERTYPE.ipv4, v4)])),
    V4,
  ],
  ['MPLS with something unknown', EN10MB, ethernet(ETHERTYPE.mpls, mpls(16, true, [0x17, 0, 0, 0, ...zeros(40)])), 'no ip'],
  ['MPLS that never ends', EN10MB, ethernet(ETHERTYPE.mpls, new Array(40).fill(mpls(16, false, [])).flat()), 'no ip; stop mpls depth'],
  ['PPPoE', EN10MB, ethernet(ETHERTYPE.pppoe, pppoe([0, 0x21, ...v4])), V4],
  ['PPPoE with padding', EN10MB, ethernet(ETHERTYPE.pppoe, pppoe([0, 0x57, ...v6], 8)), V6],
  ['PPPoE with an LCP echo', EN10MB, ethernet(ETHERTYPE.pppoe, pppoe([0xc0, 0x21, 9, 1, 0, 8, 0, 0, 0, 0])), 'no ip'],
  ['PPPoE discovery', EN10MB, ethernet(0x8863, [0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0]), 'no ip'],
  ['PPPoE of another version', EN10MB, ethernet(ETHERTYPE.pppoe, [0x21, 0, 0, 0, 0, 0]), 'no ip; stop pppoe malformed'],
  ['VLAN with PPPoE', EN10MB, ethernet(ETHERTYPE.vlan, vlan(35, ETHERTYPE.pppoe, pppoe([0, 0x21, ...v4]))), `${V4}; vlan 35`],
  ['SLL with IPv4, from us', 113, sll(ETHERTYPE.ipv4, v4, 4), `${V4}; type 4`],
  ['SLL with IPv6, to us', 113, sll(ETHERTYPE.ipv6, v6, 0), `${V6}; type 0`],
  ['SLL with a VLAN', 113, sll(ETHERTYPE.vlan, vlan(5, ETHERTYPE.ipv4, v4)), `${V4}; vlan 5; type 0`],
  ['SLL with LLC and SNAP', 113, sll(4, snap(ETHERTYPE.ipv4, v4)), `${V4}; type 0`],
  ['SLL of netlink', 113, sll(0, zeros(20), 4, 824), 'no ip; type 4'],
  ['half an SLL header', 113, zeros(15), 'no ip; stop sll length 15/16'],
  ['SLL2 with IPv4', 276, sll2(ETHERTYPE.ipv4, v4, 3, 4), `${V4}; ifindex 3; type 4`],
  ['SLL2 with IPv6, on lo', 276, sll2(ETHERTYPE.ipv6, v6, 1, 0, 772), `${V6}; ifindex 1; type 0`],
  ['SLL2 with QinQ', 276, sll2(ETHERTYPE.qinq, vlan(9, ETHERTYPE.vlan, vlan(5, ETHERTYPE.ipv4, v4))), `${V4}; vlan 9; ifindex 2; type 4`],
  ['SLL2 of a radiotap interface', 276, sll2(ETHERTYPE.ipv4, v4, 3, 0, 803), 'no ip; ifindex 3; type 0'],
  ['half an SLL2 header', 276, zeros(19), 'no ip; stop sll2 length 19/20'],
  ['RAW 101 with IPv4', 101, v4, V4],
  ['RAW 101 with IPv6', 101, v6, V6],
  ['RAW 12', 12, v4, V4],
  ['RAW 14', 14, v6, V6],
  ['RAW with another version', 101, [0x50, ...zeros(39)], 'no ip; stop raw malformed'],
  ['an empty RAW frame', 101, [], 'no ip; stop raw length 0/1'],
  ['IPV4', 228, v4, V4],
  ['IPV4 that holds IPv6', 228, v6, 'no ip; stop ipv4 malformed'],
  ['IPV6', 229, v6, V6],
  ['IPV6 that holds IPv4', 229, [...v4, ...zeros(20)], 'no ip; stop ipv6 malformed'],
  ['NULL, little-endian machine', 0, [2, 0, 0, 0, ...v4], V4],
  ['NULL, big-endian machine', 0, [0, 0, 0, 2, ...v4], V4],
  ['NULL, IPv6 of macOS', 0, [30, 0, 0, 0, ...v6], V6],
  ['NULL, IPv6 of FreeBSD', 0, [28, 0, 0, 0, ...v6], V6],
  ['NULL, IPv6 of OpenBSD, big-endian machine', 0, [0, 0, 0, 24, ...v6], V6],
  ['NULL, AppleTalk', 0, [16, 0, 0, 0, ...zeros(20)], 'no ip'],
  ['LOOP', 108, [0, 0, 0, 2, ...v4], V4],
  ['LOOP in the wrong byte order', 108, [2, 0, 0, 0, ...v4], 'no ip'],
  ['half a LOOP header', 108, [0, 0], 'no ip; stop loop length 2/4'],
  ['PPP', 9, [0xff, 3, 0, 0x21, ...v4], V4],
  ['PPP without address and control', 9, [0, 0x57, ...v6], V6],
  ['PPP with the protocol in one byte', 9, [0x21, ...v4], V4],
  ['PPP with MPLS', 9, [0xff, 3, 2, 0x81, ...mpls(16, true, v4)], V4],
  ['PPP with LCP', 9, [0xff, 3, 0xc0, 0x21, 9, 1, 0, 4], 'no ip'],
  ['PPP cut within its protocol', 9, [0xff, 3, 0], 'no ip; stop ppp length 1/2'],
  ['PPP in HDLC', 50, [0xff, 3, 0, 0x21, ...v4], V4],
  ['PPP_ETHER', 51, pppoe([0, 0x21, ...v4]), V4],
  ['IEEE 802.11', 105, zeros(60), 'no ip; stop link unsupported'],
  ['no link type at all', 65000, zeros(60), 'no ip; stop link unsupported'],
  [
    'GRE with the number of LLC as its type',
    EN10MB,
    ethernet(ETHERTYPE.ipv4, ipv4({ protocol: PROTOCOL.gre }, gre(4, udp(1, 2, [])))),
    'protocol 47 10.0.0.1 > 10.0.0.2; ip 32; payload 12/12',
  ],
];

for (const [name, linkType, frame, expected] of cases)
  test(`decodeFrame() reads ${name}`, () => {
    assert.equal(summary(decode(frame, linkType)), expected);
  });

test('decodeFrame() takes any link type from 0 to 70000 without an exception', () => {
  for (let linkType = 0; linkType < 70_000; linkType++) decode(v4, linkType);
});

test('decodeFrame() keeps a frame within its block when the lengths lie', () => {
  const packet = decode(ethernet(ETHERTYPE.ipv4, v4), 1, 1_000_000, 1_000_000);
  assert.equal(packet.end, 3 + 54 + 2);
  assert.equal(packet.srcPort, 40000);
});
