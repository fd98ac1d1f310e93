import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ah,
  type Bytes,
  decode,
  ETHERTYPE,
  ethernet,
  extension,
  fragmentHeader,
  hex,
  ipv4,
  ipv6,
  PROTOCOL,
  tcp,
  u32,
  udp,
  zeros,
} from './frames.ts';
import { summary } from './summary.ts';

const dns = udp(5353, 53, zeros(12));
const UDP4 = 'udp 10.0.0.1:5353 > 10.0.0.2:53';
const UDP6 = 'udp fd00::1:5353 > fd00::2:53';
const RAW = 101;

const cases: readonly [name: string, packet: Bytes, expected: string][] = [
  ['IPv4 with options', ipv4({ protocol: 17, options: zeros(8) }, dns), `${UDP4}; ip 48; payload 12/12`],
  ['IPv4 with the most options', ipv4({ protocol: 17, options: zeros(40) }, dns), `${UDP4}; ip 80; payload 12/12`],
  ['IPv4 with an unknown protocol', ipv4({ protocol: 89 }, zeros(24)), 'protocol 89 10.0.0.1 > 10.0.0.2; ip 44; payload 24/24'],
  ['IPv4 with ESP', ipv4({ protocol: PROTOCOL.esp }, zeros(24)), 'protocol 50 10.0.0.1 > 10.0.0.2; ip 44; payload 24/24'],
  ['IPv4 with AH before UDP', ipv4({ protocol: PROTOCOL.ah }, ah(17, dns)), `${UDP4}; ip 64; payload 12/12`],
  ['IPv4 with ICMPv6, which does not belong there', ipv4({ protocol: 58 }, zeros(8)), 'icmpv6 10.0.0.1 > 10.0.0.2 0/0; ip 28; payload 8/8'],
  [
    'IPv4 with hop-by-hop options, which do not belong there',
    ipv4({ protocol: 0 }, zeros(8)),
    'protocol 0 10.0.0.1 > 10.0.0.2; ip 28; payload 8/8',
  ],
  [
    'IPv4 with a first fragment',
    ipv4({ protocol: 17, id: 77, more: true }, udp(5353, 53, zeros(16), 3000)),
    `${UDP4}; ip 44; payload 16/16; fragment 77 at 0+`,
  ],
  [
    'IPv4 with a middle fragment',
    ipv4({ protocol: 17, id: 77, more: true, offset: 1480 }, dns),
    'udp 10.0.0.1 > 10.0.0.2; ip 40; payload 20/20; fragment 77 at 1480+',
  ],
  [
    'IPv4 with a last fragment',
    ipv4({ protocol: 17, id: 77, offset: 2960 }, dns),
    'udp 10.0.0.1 > 10.0.0.2; ip 40; payload 20/20; fragment 77 at 2960',
  ],
  [
    'IPv4 with a first fragment too small for its ports',
    ipv4({ protocol: 6, id: 9, more: true }, zeros(0)),
    'tcp 10.0.0.1 > 10.0.0.2; ip 20; payload 0/0; fragment 9 at 0+; stop tcp length 0/20',
  ],
  [
    'IPv4 with a first fragment of 8 bytes',
    ipv4({ protocol: 6, id: 9, more: true }, tcp({}, []).slice(0, 8)),
    'tcp 10.0.0.1:40000 > 10.0.0.2:80 seq 1000; ip 28; payload 0/0; fragment 9 at 0+; stop tcp length 8/20',
  ],
  [
    'IPv4 whose fragment ends behind 65535',
    ipv4({ protocol: 17, id: 9, offset: 65528 }, zeros(40)),
    'udp 10.0.0.1 > 10.0.0.2; ip 60; payload 40/40; fragment 9 at 65528',
  ],
  ['IPv4 with a total length of 0 (segmentation offload)', ipv4({ protocol: 17, length: 0 }, dns), `${UDP4}; ip 40; payload 12/12`],
  ['IPv4 with a total length below its header', ipv4({ protocol: 17, length: 19 }, dns), 'no ip; stop ipv4 malformed'],
  ['IPv4 with a total length below its options', ipv4({ protocol: 17, length: 24, options: zeros(8) }, dns), 'no ip; stop ipv4 malformed'],
  [
    'IPv4 with a total length of its header',
    ipv4({ protocol: 17, length: 20 }, dns),
    'udp 10.0.0.1 > 10.0.0.2; ip 20; payload 0/0; stop udp length 0/8',
  ],
  [
    'IPv4 with a total length above the frame',
    ipv4({ protocol: 17, length: 4000 }, dns),
    `${UDP4}; ip 40; payload 12/12; stop ipv4 length 40/4000`,
  ],
  ['IPv4 with a total length below its payload', ipv4({ protocol: 17, length: 34 }, dns), `${UDP4}; ip 34; payload 6/6`],
  ['IPv4 with a header length of 16', ipv4({ protocol: 17, versionAndLength: 0x44 }, dns), 'no ip; stop ipv4 malformed'],
  ['IPv4 with a header length beyond the packet', ipv4({ protocol: 17, versionAndLength: 0x4f }, dns), 'no ip; stop ipv4 malformed'],
  ['19 bytes of IPv4', ipv4({ protocol: 17 }, []).slice(0, 19), 'no ip; stop ipv4 length 19/20'],
  [
    'the highest addresses',
    ipv4({ protocol: 17, src: '255.255.255.255', dst: '224.0.0.251' }, dns),
    'udp 255.255.255.255:5353 > 224.0.0.251:53; ip 40; payload 12/12',
  ],
  ['IPv6 with hop-by-hop options', ipv6({ next: 0 }, extension(17, 0, dns)), `${UDP6}; ip 68; payload 12/12`],
  [
    'IPv6 with routing, destination options and AH',
    ipv6({ next: 43 }, extension(60, 2, extension(51, 0, ah(17, dns)))),
    `${UDP6}; ip 116; payload 12/12`,
  ],
  ['IPv6 with nothing behind it', ipv6({ next: PROTOCOL.none }, []), 'protocol 59 fd00::1 > fd00::2; ip 40; payload 0/0'],
  [
    'IPv6 with options and nothing behind them',
    ipv6({ next: 60 }, extension(59, 0, zeros(3))),
    'protocol 59 fd00::1 > fd00::2; ip 51; payload 3/3',
  ],
  ['IPv6 with ESP behind options', ipv6({ next: 60 }, extension(50, 0, zeros(30))), 'protocol 50 fd00::1 > fd00::2; ip 78; payload 30/30'],
  ['IPv6 with an unknown header', ipv6({ next: 253 }, zeros(30)), 'protocol 253 fd00::1 > fd00::2; ip 70; payload 30/30'],
  ['IPv6 with ICMP of IPv4, which does not belong there', ipv6({ next: 1 }, zeros(8)), 'icmp fd00::1 > fd00::2 0/0; ip 48; payload 8/8'],
  [
    'IPv6 with a first fragment',
    ipv6({ next: 44 }, fragmentHeader(17, 0, true, 0xfeedbeef, udp(5353, 53, zeros(16), 3000))),
    `${UDP6}; ip 72; payload 16/16; fragment 4276993775 at 0+`,
  ],
  [
    'IPv6 with a last fragment',
    ipv6({ next: 44 }, fragmentHeader(17, 1448, false, 5, dns)),
    'udp fd00::1 > fd00::2; ip 68; payload 20/20; fragment 5 at 1448',
  ],
  [
    'IPv6 with a later fragment of a packet with options',
    ipv6({ next: 44 }, fragmentHeader(60, 1448, false, 5, dns)),
    'protocol 60 fd00::1 > fd00::2; ip 68; payload 20/20; fragment 5 at 1448',
  ],
  [
    'IPv6 with an atomic fragment, which is whole',
    ipv6({ next: 44 }, fragmentHeader(17, 0, false, 5, dns)),
    `${UDP6}; ip 68; payload 12/12`,
  ],
  [
    'IPv6 with a fragment between options',
    ipv6({ next: 0 }, extension(44, 0, fragmentHeader(60, 0, true, 6, extension(17, 0, dns)))),
    `${UDP6}; ip 84; payload 12/12; fragment 6 at 0+`,
  ],
  [
    'IPv6 with an extension longer than the packet',
    ipv6({ next: 60 }, [17, 9, ...zeros(20)]),
    'protocol 60 fd00::1 > fd00::2; ip 62; payload 0/0; stop ipv6-extension length 22/80',
  ],
  [
    'IPv6 with half a fragment header',
    ipv6({ next: 44 }, [17, 0, 0, 0]),
    'protocol 44 fd00::1 > fd00::2; ip 44; payload 0/0; stop ipv6-extension length 4/8',
  ],
  [
    'IPv6 with 100 hop-by-hop headers',
    ipv6({ next: 0 }, new Array(100).fill(extension(0, 0, [])).flat()),
    'protocol 0 fd00::1 > fd00::2; ip 840; payload 0/0; stop ipv6-extension depth',
  ],
  [
    'IPv6 with a payload length of 0 before TCP (offload)',
    ipv6({ next: 6, length: 0 }, tcp({}, zeros(5))),
    'tcp fd00::1:40000 > fd00::2:80 [A] seq 1000 ack 0 win 512; ip 65; payload 5/5',
  ],
  [
    'IPv6 with a payload length above the frame',
    ipv6({ next: 17, length: 900 }, dns),
    `${UDP6}; ip 60; payload 12/12; stop ipv6 length 60/940`,
  ],
  ['39 bytes of IPv6', ipv6({ next: 17 }, []).slice(0, 39), 'no ip; stop ipv6 length 39/40'],
];

for (const [name, packet, expected] of cases)
  test(`decodeFrame() reads ${name}`, () => {
    assert.equal(summary(decode(packet, RAW)), expected);
  });

test('decodeFrame() does not read the padding behind an IPv6 packet without payload', () => {
  const frame = ethernet(ETHERTYPE.ipv6, [...ipv6({ next: PROTOCOL.none }, []), ...zeros(6)]);
  assert.equal(summary(decode(frame)), 'protocol 59 fd00::1 > fd00::2; ip 40; payload 0/0');
});

test('decodeFrame() takes the length of IPv4 BIG TCP from the frame', () => {
  const frame = ethernet(ETHERTYPE.ipv4, ipv4({ protocol: 6, length: 0 }, tcp({}, zeros(90_000))));
  const packet = decode(frame.slice(0, 128), 1, frame.length, 128);
  assert.deepEqual([packet.ipLength, packet.payloadLength, packet.payloadCaptured], [90_040, 90_000, 128 - 54]);
});

test('decodeFrame() takes the length of IPv6 BIG TCP from the jumbo option', () => {
  const jumbo = (said: number) => ipv6({ next: 0, length: 0 }, [6, 0, 0xc2, 4, ...u32(said), ...tcp({}, zeros(90_000))]);
  const packet = decode(ethernet(ETHERTYPE.ipv6, jumbo(90_028)));
  assert.deepEqual([packet.protocol, packet.ipLength, packet.payloadLength], [6, 90_068, 90_000]);
  const shorter = decode(ethernet(ETHERTYPE.ipv6, jumbo(70_028)));
  assert.deepEqual([shorter.ipLength, shorter.payloadLength], [70_068, 70_000]);
});

test('decodeFrame() takes the length of IPv6 BIG TCP without a jumbo option from the frame', () => {
  const packet = decode(ethernet(ETHERTYPE.ipv6, ipv6({ next: 6, length: 0 }, tcp({}, zeros(120_000)))));
  assert.deepEqual([packet.ipLength, packet.payloadLength], [120_060, 120_000]);
});

test('decodeFrame() tells bytes that were not captured from bytes that never were', () => {
  const frame = ethernet(ETHERTYPE.ipv4, ipv4({ protocol: 6 }, tcp({ options: zeros(12) }, zeros(100))));
  assert.equal(summary(decode(frame, 1, frame.length, 30)), 'no ip; stop ipv4 snapshot 16/20');
  assert.equal(summary(decode(frame, 1, 30, 30)), 'no ip; stop ipv4 length 16/20');
  assert.equal(
    summary(decode(frame, 1, frame.length, 40)),
    'tcp 10.0.0.1:40000 > 10.0.0.2:80; ip 152; payload 0/0; stop tcp snapshot 6/20',
  );
});

test('decodeFrame() reads the addresses of an IPv4 header whose options were cut', () => {
  const frame = ipv4({ protocol: 6, options: zeros(40) }, tcp({}, []));
  assert.equal(summary(decode(frame, RAW, frame.length, 30)), 'tcp 10.0.0.1 > 10.0.0.2; ip 80; payload 0/0; stop ipv4 snapshot 30/60');
});

test('decodeFrame() reads a wire capture of tcpdump byte by byte', () => {
  const frame = hex(
    '0242ac11000202 42ac110001 0800 4500003c1c4640004006b1e6c0a80068c0a80001 d4310050 00000001 00000000 a002 7210 0000 0000 020405b4 0402080a000000000000000001030307'.replace(
      /\s/g,
      '',
    ),
  );
  assert.equal(summary(decode(frame)), 'tcp 192.168.0.104:54321 > 192.168.0.1:80 [S] seq 1 ack 0 win 29200 mss 1460; ip 60; payload 0/0');
});
