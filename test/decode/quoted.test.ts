import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeQuoted } from '../../src/decode/decode.ts';
import { Packet } from '../../src/decode/packet.ts';
import {
  type Bytes,
  CLIENT,
  CLIENT6,
  decode,
  ETHERTYPE,
  ethernet,
  extension,
  icmp,
  ipv4,
  ipv6,
  SERVER,
  SERVER6,
  tcp,
  udp,
  zeros,
} from './frames.ts';
import { summary } from './summary.ts';

const error = (quoted: Bytes) => ethernet(ETHERTYPE.ipv4, ipv4({ protocol: 1, src: '10.0.0.254', dst: CLIENT }, icmp(3, 3, quoted)));
const error6 = (quoted: Bytes) => ethernet(ETHERTYPE.ipv6, ipv6({ next: 58, src: 'fd00::fe', dst: CLIENT6 }, icmp(1, 4, quoted)));
const quotedBy = (frame: Bytes, capturedLength = frame.length): string => {
  const into = new Packet();
  into.srcPort = 99;
  into.vlan = 7;
  const found = decodeQuoted(decode(frame, 1, frame.length, capturedLength), into);
  return found ? summary(into) : 'nothing';
};
const segment = ipv4({ protocol: 6, src: CLIENT, dst: SERVER }, tcp({ seq: 77 }, zeros(900)));

test('decodeQuoted() reads the ports and the sequence number of the 8 bytes that every error quotes', () => {
  assert.equal(quotedBy(error(segment.slice(0, 28))), 'tcp 10.0.0.1:40000 > 10.0.0.2:80 seq 77; ip 28; payload 0/0; stop tcp length 8/20');
});

test('decodeQuoted() reads all of a header that is quoted whole', () => {
  assert.equal(
    quotedBy(error(segment.slice(0, 100))),
    'tcp 10.0.0.1:40000 > 10.0.0.2:80 [A] seq 77 ack 0 win 512; ip 100; payload 60/60; stop ipv4 length 100/940',
  );
});

test('decodeQuoted() reads what ICMPv6 quotes, behind extension headers too', () => {
  const datagram = ipv6({ next: 60, src: CLIENT6, dst: SERVER6 }, extension(17, 0, udp(5000, 53, zeros(4))));
  assert.equal(quotedBy(error6(datagram)), 'udp fd00::1:5000 > fd00::2:53; ip 60; payload 4/4');
});

test('decodeQuoted() reads the addresses of a later fragment and no ports', () => {
  assert.equal(
    quotedBy(error(ipv4({ protocol: 17, id: 4, offset: 800, src: CLIENT, dst: SERVER }, zeros(40)))),
    'udp 10.0.0.1 > 10.0.0.2; ip 60; payload 40/40; fragment 4 at 800',
  );
});

test('decodeQuoted() reads the echo that an error quotes', () => {
  assert.equal(
    quotedBy(error(ipv4({ protocol: 1 }, icmp(8, 0, [], 0x00210000)))),
    'icmp 10.0.0.1 > 10.0.0.2 8/0 id 33; ip 28; payload 0/0',
  );
});

test('decodeQuoted() stops at a quote that was cut by the capture', () => {
  const frame = error(segment.slice(0, 28));
  assert.equal(quotedBy(frame, frame.length - 10), 'no ip; stop ipv4 snapshot 18/20');
});

test('decodeQuoted() says no and leaves an empty packet when nothing is quoted', () => {
  const into = new Packet();
  into.srcPort = 99;
  into.ipVersion = 4;
  const none = [ipv4({ protocol: 1 }, icmp(8, 0, zeros(40))), ipv4({ protocol: 1 }, icmp(3, 3, [])), ipv4({ protocol: 6 }, tcp({}, []))];
  for (const packet of none) {
    assert.equal(decodeQuoted(decode(packet, 101), into), false);
    assert.equal(summary(into), 'no ip');
  }
});

test('decodeQuoted() does not take IPv6 from an ICMP error of IPv4', () => {
  assert.equal(quotedBy(error(ipv6({ next: 17 }, zeros(20)))), 'no ip; stop ipv4 malformed');
});
