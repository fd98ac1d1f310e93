/**
 * Mutants of good frames through every decoder: no exception, no field that cannot be, no packet that takes long, and a good frame decodes as ever behind the bad ones.
 * SIDETRACE_FUZZ says how many (default 100,000), SIDETRACE_FUZZ_SEED from which seed on.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeFrame, decodeQuoted } from '../../src/decode/decode.ts';
import { decodeDns, decodeDnsOverTcp } from '../../src/decode/dns.ts';
import { parseCutHttp1Head, parseHttp1Head } from '../../src/decode/http1.ts';
import { http1Body, requestTarget } from '../../src/decode/http1-body.ts';
import { isHttp1Start, looksLikeHttp1 } from '../../src/decode/http1-start-line.ts';
import { Http2Decoder, isHttp2Frames, looksLikeHttp2Preface } from '../../src/decode/http2.ts';
import { Packet } from '../../src/decode/packet.ts';
import { findLeafCertificate, parseClientHello, parseServerHello, parseTlsRecordHeader } from '../../src/decode/tls.ts';
import { certificateUris } from '../../src/decode/x509-names.ts';
import { readFrames, type TestFrame } from './capture-reader.ts';
import { capturePaths } from './captures.ts';
import {
  type Bytes,
  ETHERTYPE,
  ethernet,
  extension,
  geneve,
  gre,
  icmp,
  ipv4,
  ipv6,
  mpls,
  pppoe,
  sll2,
  tcp,
  text,
  u16,
  udp,
  vlan,
  vxlan,
  zeros,
} from './frames.ts';
import { checkInvariants } from './invariants.ts';
import { MAX_FRAME, mutate, Random } from './mutator.ts';
import { fields } from './summary.ts';

const COUNT = Number(process.env.SIDETRACE_FUZZ ?? 100_000);
const SEED = Number(process.env.SIDETRACE_FUZZ_SEED ?? 20_261_123);
/** One packet may take this long, in its best of several tries (the machine is shared). */
const LIMIT_MS = 1;

const dns: Bytes = [
  ...u16(7),
  ...u16(0x8180),
  ...[1, 1, 0, 0].flatMap(u16),
  3,
  ...text('www'),
  0,
  ...u16(1),
  ...u16(1),
  ...u16(0xc00c),
  ...u16(1),
  ...u16(1),
  0,
  0,
  0,
  9,
  ...u16(4),
  10,
  0,
  0,
  1,
];
const http: Bytes = text(
  'GET /a?b=c HTTP/1.1\r\nHost: reviews:9080\r\nx-request-id: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
);
const segment = tcp({ flags: 0x18 }, http);
const v4 = ipv4({ protocol: 6 }, segment);
const v6 = ipv6({ next: 0 }, extension(60, 0, extension(6, 1, segment)));
const nodes = (protocol: number, rest: Bytes) => ethernet(ETHERTYPE.ipv4, ipv4({ protocol, src: '192.0.2.1', dst: '192.0.2.2' }, rest));

/** Frames of every layer, so that the run means something where the reference captures are absent. */
const made: readonly [linkType: number, frame: Bytes][] = [
  [1, ethernet(ETHERTYPE.ipv4, v4)],
  [1, ethernet(ETHERTYPE.ipv6, v6)],
  [1, ethernet(ETHERTYPE.qinq, vlan(7, ETHERTYPE.vlan, vlan(5, ETHERTYPE.ipv4, v4)))],
  [1, ethernet(ETHERTYPE.mpls, mpls(16, false, mpls(17, true, v4)))],
  [1, ethernet(ETHERTYPE.pppoe, pppoe([0, 0x21, ...v4]))],
  [1, ethernet(ETHERTYPE.ipv4, ipv4({ protocol: 17 }, udp(53, 40000, dns)))],
  [1, ethernet(ETHERTYPE.ipv4, ipv4({ protocol: 6 }, tcp({ src: 53 }, [...u16(dns.length), ...dns])))],
  [1, ethernet(ETHERTYPE.ipv4, ipv4({ protocol: 1 }, icmp(3, 3, v4)))],
  [1, ethernet(ETHERTYPE.ipv6, ipv6({ next: 58 }, icmp(1, 4, v6)))],
  [1, nodes(4, v4)],
  [1, nodes(41, v6)],
  [1, ethernet(ETHERTYPE.ipv6, ipv6({ next: 4 }, v4))],
  [1, nodes(47, gre(ETHERTYPE.teb, ethernet(ETHERTYPE.ipv4, v4), 0x2000, zeros(4)))],
  [1, nodes(17, udp(50000, 4789, vxlan(42, ethernet(ETHERTYPE.ipv4, v4))))],
  [1, nodes(17, udp(50000, 6081, geneve(42, ETHERTYPE.teb, ethernet(ETHERTYPE.ipv6, v6), zeros(8))))],
  [276, sll2(ETHERTYPE.ipv4, v4)],
  [101, v6],
];

const handMade: TestFrame[] = made.map(([linkType, frame]) => ({ linkType, bytes: Uint8Array.from(frame), wireLength: frame.length }));
const captured: TestFrame[] = capturePaths().flatMap((path) => readFrames(path).slice(0, 40));

/** A frame of our own as often as a captured one, which are many and alike. */
function pick(random: Random): TestFrame {
  const from = captured.length === 0 || random.below(2) === 0 ? handMade : captured;
  return from[random.below(from.length)]!;
}

/** The heads, on whatever the payload has become. Their results must not matter to the next call. */
function decodeHeads(bytes: Uint8Array, start: number, end: number): void {
  decodeDns(bytes, start, end);
  decodeDnsOverTcp(bytes, start, end);
  looksLikeHttp1(bytes, start, end);
  isHttp1Start(bytes, start, end);
  const head = parseHttp1Head(bytes, start, end);
  if (typeof head === 'object') {
    http1Body(head, 'GET');
    if (head.kind === 'request') requestTarget(head);
  }
  parseCutHttp1Head(bytes, start, end);
  looksLikeHttp2Preface(bytes, start, end);
  isHttp2Frames(bytes, start, end);
  parseTlsRecordHeader(bytes, start, end);
  // A handshake message begins behind the record header.
  parseClientHello(bytes, Math.min(start + 5, end), end);
  parseServerHello(bytes, Math.min(start + 5, end), end);
  const leaf = findLeafCertificate(bytes, Math.min(start + 5, end), end);
  if (leaf !== undefined) certificateUris(bytes, leaf.start, leaf.end);
  certificateUris(bytes, start, end);
}

test(`every decoder takes ${COUNT} mutated packets without an exception`, { timeout: 3_600_000 }, () => {
  const random = new Random(SEED);
  const block = new Uint8Array(MAX_FRAME);
  const view = new DataView(block.buffer);
  const packet = new Packet();
  const fresh = new Packet();
  const quoted = new Packet();
  const good = Uint8Array.from(ethernet(ETHERTYPE.ipv6, ipv6({ next: 6 }, segment)));
  const goodView = new DataView(good.buffer);
  decodeFrame(fresh, 1, good, goodView, 0, good.length, good.length, 0);
  const goodFields = fields(fresh);
  let stopped = 0;
  let quotes = 0;
  let tunnels = 0;

  for (let i = 0; i < COUNT; i++) {
    const frame = pick(random);
    const length = mutate(frame.bytes, pick(random).bytes, block, random);
    const wireLength = random.below(4) === 0 ? length + random.below(3000) : Math.max(length, frame.wireLength);
    const decodeAll = () => {
      decodeFrame(packet, frame.linkType, block, view, 0, length, wireLength, i);
      if (packet.payloadCaptured > 0) decodeHeads(block, packet.payloadOffset, packet.payloadOffset + packet.payloadCaptured);
      if (decodeQuoted(packet, quoted)) quotes++;
    };
    const begun = performance.now();
    try {
      decodeAll();
      checkInvariants(packet);
      if (packet.quoteOffset !== 0) checkInvariants(quoted);
    } catch (error) {
      const bytes = Buffer.from(block.subarray(0, length)).toString('hex');
      throw new Error(`packet ${i} of seed ${SEED}, link type ${frame.linkType}, ${wireLength} bytes on the wire: ${bytes}`, {
        cause: error,
      });
    }
    if (performance.now() - begun > LIMIT_MS) assertQuick(decodeAll, i);
    if (packet.stopLayer !== 0) stopped++;
    if (packet.tunnel !== 0) tunnels++;
    if (i % 16 === 0) {
      // Not a byte behind the frame was looked at: alone in its block it reads the same.
      const alone = block.slice(0, length);
      decodeFrame(fresh, frame.linkType, alone, new DataView(alone.buffer), 0, length, wireLength, i);
      assert.deepEqual(fields(packet), fields(fresh));
      decodeFrame(packet, 1, good, goodView, 0, good.length, good.length, 0);
      assert.deepEqual(fields(packet), goodFields, `the good frame after packet ${i}`);
    }
  }
  // A run that never met these was no test of them.
  assert.ok(
    stopped > COUNT / 100 && quotes > COUNT / 1000 && tunnels > COUNT / 1000,
    `${stopped} stops, ${quotes} quotes, ${tunnels} tunnels`,
  );
});

test('the HTTP/2 decoder takes mutated streams without an exception', () => {
  const random = new Random(SEED);
  const preface = text('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  const settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
  const headers = [
    0, 0, 17, 1, 4, 0, 0, 0, 1, 0x82, 0x87, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
  ];
  const data = [0, 0, 3, 0, 1, 0, 0, 0, 1, 1, 2, 3];
  const stream = Uint8Array.from([...preface, ...settings, ...headers, ...data, ...headers]);
  const block = new Uint8Array(MAX_FRAME);
  for (let i = 0; i < COUNT / 10; i++) {
    const length = mutate(stream, stream, block, random);
    const midstream = random.below(4) === 0;
    const decoder = new Http2Decoder({ preface: !midstream, midstream });
    const half = random.below(length);
    decoder.push(block, 0, half, 0, true);
    if (random.below(4) === 0) decoder.gap(random.below(100));
    decoder.push(block, half, length, 1, false);
  }
});

/** A pause of the machine or the collector is no fault of the packet: its best of nine tries counts. */
function assertQuick(decodeAll: () => void, number: number): void {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 9 && best > LIMIT_MS; i++) {
    const begun = performance.now();
    decodeAll();
    best = Math.min(best, performance.now() - begun);
  }
  assert.ok(best <= LIMIT_MS, `packet ${number} of seed ${SEED} took ${best} ms`);
}
