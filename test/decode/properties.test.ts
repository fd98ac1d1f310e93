import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeFrame, decodeQuoted } from '../../src/decode/decode.ts';
import { decodeDns } from '../../src/decode/dns.ts';
import { Packet } from '../../src/decode/packet.ts';
import { formatV4, formatV6 } from '../../src/net/address.ts';
import { decode, ETHERTYPE, ethernet, ipv4, ipv6, PROTOCOL, tcp, udp, vlan } from './frames.ts';
import { checkInvariants } from './invariants.ts';
import { destination, fields, source } from './summary.ts';

const SEED = 20261123;
const run = (property: fc.IRawProperty<unknown>, numRuns = 500): void =>
  fc.assert(property as fc.IProperty<unknown>, { seed: SEED, numRuns });

const LINK_TYPES = [0, 1, 9, 12, 14, 50, 51, 101, 108, 113, 228, 229, 276];
const port = fc.integer({ min: 0, max: 65535 });
const word = fc.integer({ min: 0, max: 0xffffffff });
const v4 = fc.integer({ min: -0x80000000, max: 0x7fffffff }).map(formatV4);
const int32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
const v6 = fc.tuple(int32, int32, int32, int32).map(([a, b, c, d]) => formatV6(a, b, c, d));
const payload = fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 64 });

test('decodeFrame() gives back the TCP header that was written', () => {
  run(
    fc.property(
      v4,
      v4,
      port,
      port,
      word,
      word,
      fc.integer({ min: 0, max: 0x1ff }),
      port,
      payload,
      (src, dst, sport, dport, seq, ack, flags, window, data) => {
        const p = decode(
          ethernet(ETHERTYPE.ipv4, ipv4({ protocol: 6, src, dst }, tcp({ src: sport, dst: dport, seq, ack, flags, window }, data))),
        );
        assert.deepEqual(
          [
            source(p),
            destination(p),
            p.srcPort,
            p.dstPort,
            p.seq >>> 0,
            p.ack >>> 0,
            p.tcpFlags,
            p.window,
            p.payloadLength,
            p.payloadCaptured,
            p.stopLayer,
          ],
          [src, dst, sport, dport, seq, ack, flags, window, data.length, data.length, 0],
        );
        assert.deepEqual([...p.bytes.subarray(p.payloadOffset, p.payloadOffset + p.payloadCaptured)], data);
      },
    ),
  );
});

test('decodeFrame() gives back the IPv6 and UDP headers that were written', () => {
  run(
    fc.property(
      v6,
      v6,
      port,
      port.filter((n) => ![4789, 6081, 8472].includes(n)),
      payload,
      fc.integer({ min: 0, max: 4095 }),
      (src, dst, sport, dport, data, id) => {
        const p = decode(
          ethernet(ETHERTYPE.vlan, vlan(id, ETHERTYPE.ipv6, ipv6({ next: PROTOCOL.udp, src, dst }, udp(sport, dport, data)))),
        );
        assert.deepEqual(
          [source(p), destination(p), p.srcPort, p.dstPort, p.ipLength, p.payloadLength, p.vlan, p.stopLayer],
          [src, dst, sport, dport, 48 + data.length, data.length, id, 0],
        );
      },
    ),
  );
});

test('decodeFrame() holds its invariants for arbitrary bytes of every link type, and leaves nothing behind', () => {
  const used = new Packet();
  const quoted = new Packet();
  run(
    fc.property(fc.constantFrom(...LINK_TYPES), fc.uint8Array({ maxLength: 200 }), fc.nat(200), (linkType, bytes, extra) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const fresh = new Packet();
      decodeFrame(used, linkType, bytes, view, 0, bytes.length, bytes.length + extra, 5);
      decodeFrame(fresh, linkType, bytes, view, 0, bytes.length, bytes.length + extra, 5);
      checkInvariants(used);
      assert.deepEqual(fields(used), fields(fresh));
      if (decodeQuoted(used, quoted)) checkInvariants(quoted);
    }),
    2000,
  );
});

test('decodeDns() never throws and never lets a raw byte through', () => {
  const header = fc.tuple(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.array(fc.nat(3), { minLength: 4, maxLength: 4 }));
  run(
    fc.property(header, fc.uint8Array({ maxLength: 120 }), ([start, counts], rest) => {
      const bytes = Uint8Array.from([...start, ...counts.flatMap((n) => [0, n]), ...rest]);
      const message = decodeDns(bytes, 0, bytes.length);
      if (message === undefined) return;
      for (const value of [message.question ?? '', ...message.answers]) assert.match(value, /^[\x20-\x7e…]*$/);
      assert.ok(message.answers.length <= 16);
    }),
    2000,
  );
});
