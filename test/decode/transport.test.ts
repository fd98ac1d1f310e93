import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Bytes, decode, icmp, ipv4, ipv6, sctp, tcp, u16, udp, zeros } from './frames.ts';
import { summary } from './summary.ts';

const RAW = 101;
const overTcp = (bytes: Bytes) => ipv4({ protocol: 6 }, bytes);
const overUdp = (bytes: Bytes) => ipv4({ protocol: 17 }, bytes);
const TCP = 'tcp 10.0.0.1:40000 > 10.0.0.2:80';
const UDP = 'udp 10.0.0.1:1000 > 10.0.0.2:2000';

const cases: readonly [name: string, packet: Bytes, expected: string][] = [
  [
    'TCP with every flag',
    overTcp(tcp({ flags: 0x1ff, seq: 0xffffffff, ack: 0x80000000, window: 65535 }, [1])),
    `${TCP} [FSRPAUECN] seq 4294967295 ack 2147483648 win 65535; ip 41; payload 1/1`,
  ],
  ['TCP without any flag', overTcp(tcp({ flags: 0 }, [])), `${TCP} [] seq 1000 ack 0 win 512; ip 40; payload 0/0`],
  ['TCP whose reserved bits are set', overTcp(tcp({ flags: 0xe10 }, [])), `${TCP} [A] seq 1000 ack 0 win 512; ip 40; payload 0/0`],
  [
    'the MSS of a SYN',
    overTcp(tcp({ flags: 2, options: [2, 4, ...u16(1460)] }, [])),
    `${TCP} [S] seq 1000 ack 0 win 512 mss 1460; ip 44; payload 0/0`,
  ],
  [
    'the MSS behind other options',
    overTcp(tcp({ flags: 0x12, options: [1, 1, 8, 10, ...zeros(8), 2, 4, ...u16(8960), 3, 3, 7, 0] }, [])),
    `${TCP} [SA] seq 1000 ack 0 win 512 mss 8960; ip 60; payload 0/0`,
  ],
  [
    'no MSS behind the end of the options',
    overTcp(tcp({ flags: 2, options: [0, 0, 0, 0, 2, 4, 5, 180] }, [])),
    `${TCP} [S] seq 1000 ack 0 win 512; ip 48; payload 0/0`,
  ],
  [
    'no MSS of a segment that is no SYN',
    overTcp(tcp({ options: [2, 4, ...u16(1460)] }, [])),
    `${TCP} [A] seq 1000 ack 0 win 512; ip 44; payload 0/0`,
  ],
  [
    'no MSS behind an option of length 0',
    overTcp(tcp({ flags: 2, options: [8, 0, 1, 1, 2, 4, 5, 180] }, [])),
    `${TCP} [S] seq 1000 ack 0 win 512; ip 48; payload 0/0`,
  ],
  [
    'no MSS behind an option of length 1',
    overTcp(tcp({ flags: 2, options: [8, 1, 1, 1, 2, 4, 5, 180] }, [])),
    `${TCP} [S] seq 1000 ack 0 win 512; ip 48; payload 0/0`,
  ],
  [
    'no MSS behind an option beyond the header',
    overTcp(tcp({ flags: 2, options: [8, 255, 1, 1, 2, 4, 5, 180] }, [])),
    `${TCP} [S] seq 1000 ack 0 win 512; ip 48; payload 0/0`,
  ],
  [
    'no MSS of a wrong length',
    overTcp(tcp({ flags: 2, options: [2, 3, 5, 1] }, [])),
    `${TCP} [S] seq 1000 ack 0 win 512; ip 44; payload 0/0`,
  ],
  [
    'no MSS whose length lies behind the header',
    overTcp(tcp({ flags: 2, options: [1, 1, 1, 2] }, [4, 5])),
    `${TCP} [S] seq 1000 ack 0 win 512; ip 46; payload 2/2`,
  ],
  ['40 NOPs', overTcp(tcp({ flags: 2, options: new Array(40).fill(1) }, [7])), `${TCP} [S] seq 1000 ack 0 win 512; ip 81; payload 1/1`],
  ['TCP with a data offset of 4', overTcp(tcp({ dataOffset: 4 }, [1, 2, 3])), `${TCP} seq 1000; ip 43; payload 0/0; stop tcp malformed`],
  ['TCP with a data offset of 0', overTcp(tcp({ dataOffset: 0 }, [1, 2, 3])), `${TCP} seq 1000; ip 43; payload 0/0; stop tcp malformed`],
  [
    'TCP with a data offset beyond the segment',
    overTcp(tcp({ dataOffset: 15 }, [1, 2, 3])),
    `${TCP} seq 1000; ip 43; payload 0/0; stop tcp length 23/60`,
  ],
  ['3 bytes of TCP', overTcp([1, 2, 3]), 'tcp 10.0.0.1 > 10.0.0.2; ip 23; payload 0/0; stop tcp length 3/20'],
  ['4 bytes of TCP', overTcp(tcp({}, []).slice(0, 4)), `${TCP}; ip 24; payload 0/0; stop tcp length 4/20`],
  ['19 bytes of TCP', overTcp(tcp({}, []).slice(0, 19)), `${TCP} seq 1000; ip 39; payload 0/0; stop tcp length 19/20`],
  ['UDP', overUdp(udp(1000, 2000, [1, 2, 3])), `${UDP}; ip 31; payload 3/3`],
  ['UDP without payload', overUdp(udp(1000, 2000, [])), `${UDP}; ip 28; payload 0/0`],
  ['UDP with a length of 0', overUdp(udp(1000, 2000, [1, 2, 3], 0)), `${UDP}; ip 31; payload 3/3`],
  ['UDP with a length of 7', overUdp(udp(1000, 2000, [1, 2, 3], 7)), `${UDP}; ip 31; payload 0/0; stop udp malformed`],
  ['UDP with a length below the packet', overUdp(udp(1000, 2000, [1, 2, 3], 9)), `${UDP}; ip 31; payload 1/1`],
  ['UDP with a length above the packet', overUdp(udp(1000, 2000, [1, 2, 3], 900)), `${UDP}; ip 31; payload 3/3`],
  ['6 bytes of UDP', overUdp(udp(1000, 2000, []).slice(0, 6)), `${UDP}; ip 26; payload 0/0; stop udp length 6/8`],
  ['SCTP', ipv4({ protocol: 132 }, sctp(36412, 38412, zeros(20))), 'sctp 10.0.0.1:36412 > 10.0.0.2:38412; ip 52; payload 20/20'],
  [
    '11 bytes of SCTP',
    ipv4({ protocol: 132 }, sctp(36412, 38412, []).slice(0, 11)),
    'sctp 10.0.0.1:36412 > 10.0.0.2:38412; ip 31; payload 0/0; stop sctp length 11/12',
  ],
  ['an ICMP echo', ipv4({ protocol: 1 }, icmp(8, 0, zeros(4), 0x00070001)), 'icmp 10.0.0.1 > 10.0.0.2 8/0 id 7; ip 32; payload 4/4'],
  ['an ICMP echo reply', ipv4({ protocol: 1 }, icmp(0, 0, zeros(4), 0x00070001)), 'icmp 10.0.0.1 > 10.0.0.2 0/0 id 7; ip 32; payload 4/4'],
  [
    'an ICMP timestamp',
    ipv4({ protocol: 1 }, icmp(13, 0, zeros(12), 0x00090001)),
    'icmp 10.0.0.1 > 10.0.0.2 13/0 id 9; ip 40; payload 12/12',
  ],
  [
    'an ICMP router advertisement',
    ipv4({ protocol: 1 }, icmp(9, 0, zeros(8), 0x01020005)),
    'icmp 10.0.0.1 > 10.0.0.2 9/0; ip 36; payload 8/8',
  ],
  ['2 bytes of ICMP', ipv4({ protocol: 1 }, [3, 1]), 'icmp 10.0.0.1 > 10.0.0.2 3/1; ip 22; payload 0/0; stop icmp length 2/8'],
  ['an ICMP error', ipv4({ protocol: 1 }, icmp(3, 3, zeros(28))), 'icmp 10.0.0.1 > 10.0.0.2 3/3 quotes; ip 56; payload 28/28'],
  ['an ICMP error that quotes nothing', ipv4({ protocol: 1 }, icmp(11, 0, [])), 'icmp 10.0.0.1 > 10.0.0.2 11/0; ip 28; payload 0/0'],
  ['an ICMPv6 echo', ipv6({ next: 58 }, icmp(128, 0, zeros(4), 0x00070001)), 'icmpv6 fd00::1 > fd00::2 128/0 id 7; ip 52; payload 4/4'],
  ['an ICMPv6 error', ipv6({ next: 58 }, icmp(1, 4, zeros(48))), 'icmpv6 fd00::1 > fd00::2 1/4 quotes; ip 96; payload 48/48'],
  [
    'an ICMPv6 packet too big',
    ipv6({ next: 58 }, icmp(2, 0, zeros(48), 1280)),
    'icmpv6 fd00::1 > fd00::2 2/0 quotes; ip 96; payload 48/48',
  ],
  ['an ICMPv6 neighbour solicitation', ipv6({ next: 58 }, icmp(135, 0, zeros(16))), 'icmpv6 fd00::1 > fd00::2 135/0; ip 64; payload 16/16'],
  [
    'an ICMPv6 message without its code',
    ipv6({ next: 58 }, [128]),
    'icmpv6 fd00::1 > fd00::2 0/0; ip 41; payload 0/0; stop icmpv6 length 1/8',
  ],
];

for (const [name, packet, expected] of cases)
  test(`decodeFrame() reads ${name}`, () => {
    assert.equal(summary(decode(packet, RAW)), expected);
  });

test('decodeFrame() reads a SYN whose options were cut, with the MSS where it was captured', () => {
  const frame = overTcp(tcp({ flags: 2, options: [2, 4, ...u16(1460), ...zeros(16)] }, []));
  assert.equal(
    summary(decode(frame, RAW, frame.length, 44)),
    `${TCP} [S] seq 1000 ack 0 win 512 mss 1460; ip 60; payload 0/0; stop tcp snapshot 24/40`,
  );
  assert.equal(
    summary(decode(frame, RAW, frame.length, 43)),
    `${TCP} [S] seq 1000 ack 0 win 512; ip 60; payload 0/0; stop tcp snapshot 23/40`,
  );
});

test('decodeFrame() keeps the true length of a payload that was cut', () => {
  const frame = overTcp(tcp({}, zeros(1000)));
  const packet = decode(frame, RAW, frame.length, 60);
  assert.deepEqual([packet.payloadOffset, packet.payloadCaptured, packet.payloadLength, packet.stopLayer], [3 + 40, 20, 1000, 0]);
});
