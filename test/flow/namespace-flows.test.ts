/** What the packets of a namespace tell, whichever way they are read: batch by batch or one by one; ICMP errors, fragments, tunnels, DNS beside the flows. */
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeFrame } from '../../src/decode/decode.ts';
import { LANES } from '../../src/decode/lanes.ts';
import { Packet } from '../../src/decode/packet.ts';
import { type Flow, readFlow } from '../../src/flow/flow.ts';
import { NamespaceFlows } from '../../src/flow/namespace-flows.ts';
import { snapshotsOf } from '../../src/source/bundle.ts';
import { openInput } from '../../src/source/input.ts';
import { expandRecording } from '../../src/source/recording.ts';
import type { FrameSource } from '../../src/source/source.ts';
import {
  type Bytes,
  decode,
  ETHERTYPE,
  ethernet,
  extension,
  fragmentHeader,
  gre,
  icmp,
  ipv4,
  ipv6,
  PROTOCOL,
  sctp,
  sll2,
  tcp,
  text,
  udp,
  vlan,
  vxlan,
} from '../decode/frames.ts';
import { plain } from './conversation.ts';

function observe(frames: readonly Bytes[], linkType = 1): NamespaceFlows {
  const flows = new NamespaceFlows({ follow: 'all' });
  for (const [i, frame] of frames.entries()) {
    const packet = decode(frame, linkType);
    packet.timeNs = 1e9 + i * 1e6;
    flows.observe(packet, 0);
  }
  flows.finish();
  return flows;
}

function allFlows({ table }: NamespaceFlows): Flow[] {
  return Array.from({ length: table.count }, (_, slot) => readFlow(table, slot));
}

const SYN = 0x02;
const CLIENT = '10.0.0.1';
const SERVER = '10.0.0.2';

test('an ICMP error is told of the flow that it quotes: unreachable where nothing else answered', () => {
  const quoted = ipv4({ protocol: PROTOCOL.tcp, src: CLIENT, dst: SERVER }, tcp({ src: 40_000, dst: 80, flags: SYN }, []));
  const error = (type: number, code: number) =>
    ethernet(ETHERTYPE.ipv4, ipv4({ protocol: PROTOCOL.icmp, src: '10.0.0.254', dst: CLIENT }, icmp(type, code, quoted.slice(0, 28))));
  const syn = ethernet(ETHERTYPE.ipv4, quoted);
  const answer = ethernet(
    ETHERTYPE.ipv4,
    ipv4({ protocol: PROTOCOL.tcp, src: SERVER, dst: CLIENT }, tcp({ src: 80, dst: 40_000, flags: 0x12 }, [])),
  );

  const alone = observe([syn, error(3, 1)]);
  assert.equal(alone.table.count, 1);
  assert.equal(readFlow(alone.table, 0).state, 'unreachable');
  assert.deepEqual(alone.extraOf(0)?.icmp, { type: 3, code: 1 });

  assert.equal(readFlow(observe([syn, error(3, 1), answer]).table, 0).state, 'open', 'it answered all the same');

  const stranger = observe([error(3, 3)]);
  assert.equal(stranger.table.count, 1);
  assert.equal(readFlow(stranger.table, 0).protocol, 'icmp', 'an error that quotes nothing that was seen is a flow of its own');
});

test('an ICMPv6 error is told of the UDP flow that it quotes', () => {
  const quoted = ipv6({ next: PROTOCOL.udp }, udp(5000, 53, text('question')));
  const flows = observe([
    ethernet(ETHERTYPE.ipv6, quoted),
    ethernet(ETHERTYPE.ipv6, ipv6({ next: PROTOCOL.icmpv6, src: 'fd00::9', dst: 'fd00::1' }, icmp(1, 4, quoted))),
  ]);
  assert.equal(flows.table.count, 1);
  assert.equal(readFlow(flows.table, 0).state, 'unreachable');
});

test('ICMP echo: both directions are one flow, told by its identifier', () => {
  const echo = (type: number, id: number, src: string, dst: string) =>
    ethernet(ETHERTYPE.ipv4, ipv4({ protocol: PROTOCOL.icmp, src, dst }, icmp(type, 0, text('abcdefgh'), (id << 16) | 1)));
  const flows = observe([echo(8, 7, CLIENT, SERVER), echo(0, 7, SERVER, CLIENT), echo(8, 8, CLIENT, SERVER)]);
  assert.deepEqual(
    allFlows(flows).map(({ protocol, packetsToDestination, packetsToSource }) => [protocol, packetsToDestination, packetsToSource]),
    [
      ['icmp', 1, 1],
      ['icmp', 1, 0],
    ],
  );
  assert.deepEqual(
    [flows.extraOf(0)?.icmp, flows.extraOf(1)?.icmp],
    [
      { type: 8, code: 0, id: 7 },
      { type: 8, code: 0, id: 8 },
    ],
  );
});

test('a large ping comes in fragments, and is unreachable when an error quotes it', () => {
  const ping = (offset: number, more: boolean, rest: Bytes) =>
    ethernet(ETHERTYPE.ipv4, ipv4({ protocol: PROTOCOL.icmp, id: 9, offset, more }, rest));
  const first = icmp(8, 0, text('a'.repeat(16)), (7 << 16) | 1);
  const error = icmp(3, 1, ipv4({ protocol: PROTOCOL.icmp, id: 10 }, icmp(8, 0, [], (7 << 16) | 2)));
  const flows = observe([
    ping(0, true, first),
    ping(24, false, text('bbbb')),
    ethernet(ETHERTYPE.ipv4, ipv4({ protocol: PROTOCOL.icmp, src: '10.0.0.254', dst: CLIENT }, error)),
  ]);
  assert.equal(flows.table.count, 1);
  assert.deepEqual([readFlow(flows.table, 0).packetsToDestination, readFlow(flows.table, 0).state], [2, 'unreachable']);
});

test('later fragments are counted to the flow of the first one, which decides; a stray one is counted to its addresses', () => {
  const fragment = (offset: number, more: boolean, id: number, rest: Bytes) =>
    ethernet(ETHERTYPE.ipv4, ipv4({ protocol: PROTOCOL.udp, id, offset, more }, rest));
  const flows = observe([
    fragment(0, true, 7, udp(5000, 6000, text('a'.repeat(16)), 100)),
    fragment(24, true, 7, text('b'.repeat(24))),
    fragment(48, false, 7, text('c'.repeat(8))),
    fragment(24, false, 8, text('stray')),
  ]);
  assert.equal(flows.strayFragments, 1);
  const [whole, stray] = allFlows(flows);
  assert.deepEqual(
    [whole!.source.port, whole!.destination.port, whole!.packetsToDestination, whole!.bytesToDestination],
    [5000, 6000, 3, 44 + 44 + 28],
  );
  assert.deepEqual([stray!.protocol, stray!.source.port, stray!.packetsToDestination], ['udp', 0, 1]);
  assert.equal(flows.table.count, 2);
});

test('IPv6: fragments are told apart by their identification', () => {
  const fragment = (offset: number, id: number, rest: Bytes) =>
    ethernet(ETHERTYPE.ipv6, ipv6({ next: PROTOCOL.fragment }, fragmentHeader(PROTOCOL.udp, offset, true, id, rest)));
  const flows = observe([
    fragment(0, 1, udp(5000, 53, text('12345678'))),
    fragment(0, 2, udp(5001, 53, text('12345678'))),
    fragment(16, 1, text('12345678')),
    fragment(16, 2, text('12345678')),
    fragment(24, 2, text('12345678')),
  ]);
  assert.deepEqual(
    allFlows(flows).map(({ source, packetsToDestination }) => [source.port, packetsToDestination]),
    [
      [5000, 2],
      [5001, 3],
    ],
  );
});

test('a flood of first fragments stays bounded, and the newest are known', () => {
  const flows = new NamespaceFlows({ follow: 'hello' });
  const first = decode(ethernet(ETHERTYPE.ipv4, ipv4({ protocol: PROTOCOL.udp, id: 0, more: true }, udp(5000, 6000, text('12345678')))));
  const later = decode(ethernet(ETHERTYPE.ipv4, ipv4({ protocol: PROTOCOL.udp, id: 0, offset: 16 }, text('12345678'))));
  const before = process.memoryUsage().heapUsed;
  for (let id = 0; id < 1_000_000; id++) {
    first.fragmentId = id;
    flows.observe(first, 0);
  }
  assert.ok(process.memoryUsage().heapUsed - before < 64 * 1024 * 1024, 'less than 64 MiB are kept');
  const restore = (id: number) => {
    later.fragmentId = id;
    later.protocol = PROTOCOL.udp;
    later.srcPort = later.dstPort = 0;
    flows.observe(later, 0);
  };
  restore(0);
  assert.equal(flows.strayFragments, 1, 'the oldest was given up');
  restore(999_999);
  assert.equal(flows.strayFragments, 1);
  assert.equal(readFlow(flows.table, 0).packetsToDestination, 1_000_001);
});

test('the tunnel of a flow, and DNS beside it', () => {
  const inner = ethernet(ETHERTYPE.ipv4, ipv4({ protocol: PROTOCOL.tcp }, tcp({ flags: SYN }, [])));
  const flows = observe([
    ethernet(
      ETHERTYPE.ipv4,
      ipv4({ protocol: PROTOCOL.udp, src: '192.0.2.1', dst: '192.0.2.2' }, udp(5555, 4789, vxlan(42, inner, 0x08000000))),
    ),
  ]);
  assert.deepEqual(flows.extraOf(0)?.tunnel, { kind: 'vxlan', id: 42, outer: { source: '192.0.2.1', destination: '192.0.2.2' } });
  assert.equal(readFlow(flows.table, 0).source.ip, CLIENT);
  const inGre = observe([
    ethernet(
      ETHERTYPE.ipv4,
      ipv4({ protocol: PROTOCOL.gre }, gre(ETHERTYPE.ipv4, ipv4({ protocol: PROTOCOL.tcp, src: '10.9.0.1' }, tcp({}, [])))),
    ),
  ]);
  assert.deepEqual(inGre.extraOf(0)?.tunnel, { kind: 'gre', outer: { source: CLIENT, destination: SERVER } });
});

/** A DNS message with one question; `answer` adds one A record. */
function dns(id: number, flags: number, name: string, answer = false): number[] {
  const labels = [...name.split('.').flatMap((label) => [label.length, ...text(label)]), 0];
  const record = answer ? [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7] : [];
  return [id >> 8, id & 255, flags >> 8, flags & 255, 0, 1, 0, answer ? 1 : 0, 0, 0, 0, 0, ...labels, 0, 1, 0, 1, ...record];
}

test('a DNS flow tells its first question and the answer to it, not that of another', () => {
  const ask = (payload: Bytes) => ethernet(ETHERTYPE.ipv4, ipv4({ protocol: PROTOCOL.udp }, udp(5353, 53, payload)));
  const answer = (payload: Bytes) =>
    ethernet(ETHERTYPE.ipv4, ipv4({ protocol: PROTOCOL.udp, src: SERVER, dst: CLIENT }, udp(53, 5353, payload)));
  const table: [title: string, frames: Bytes[], dns: object | undefined][] = [
    [
      'question and answer',
      [ask(dns(1, 0x0100, 'a.test')), answer(dns(1, 0x8180, 'a.test', true))],
      { question: 'a.test', kind: 'A', rcode: 'NOERROR', answers: ['192.0.2.7'] },
    ],
    [
      'no such name',
      [ask(dns(1, 0x0100, 'a.test')), answer(dns(1, 0x8183, 'a.test'))],
      { question: 'a.test', kind: 'A', rcode: 'NXDOMAIN' },
    ],
    [
      'two questions, the second is answered first',
      [
        ask(dns(1, 0x0100, 'a.test')),
        ask(dns(2, 0x0100, 'b.test')),
        answer(dns(2, 0x8180, 'b.test', true)),
        answer(dns(1, 0x8183, 'a.test')),
      ],
      { question: 'a.test', kind: 'A', rcode: 'NXDOMAIN' },
    ],
    ['not answered', [ask(dns(1, 0x0100, 'a.test'))], { question: 'a.test', kind: 'A' }],
    [
      'only the answer',
      [answer(dns(1, 0x8180, 'a.test', true))],
      { question: 'a.test', kind: 'A', rcode: 'NOERROR', answers: ['192.0.2.7'] },
    ],
    ['no DNS', [ask(text('hello'))], undefined],
  ];
  for (const [title, frames, expected] of table) assert.deepEqual(observe(frames).extraOf(0)?.dns, expected, title);
});

test('a connection whose payload is not followed is counted as such, and loses nothing else', () => {
  const flows = new NamespaceFlows({ follow: 'all', followedMax: 2 });
  for (let port = 1; port <= 5; port++)
    flows.observe(
      decode(
        ethernet(
          ETHERTYPE.ipv4,
          ipv4({ protocol: PROTOCOL.tcp }, tcp({ src: 40_000 + port, flags: 0x18 }, text('GET / HTTP/1.1\r\n\r\n'))),
        ),
      ),
      0,
    );
  flows.finish();
  assert.deepEqual([flows.unfollowed, flows.table.count, flows.frames], [3, 5, 5]);
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((slot) => flows.trackerOf(slot)?.exchanges.length),
    [1, 1, undefined, undefined, undefined],
  );
});

test('frames that hold no IP packet are counted, and nothing more', () => {
  const flows = observe([ethernet(ETHERTYPE.arp, text('who has')), [], [1, 2, 3], ethernet(ETHERTYPE.ipv4, [0x45])]);
  assert.deepEqual([flows.frames, flows.framesWithoutIp, flows.table.count], [4, 4, 0]);
});

/** Everything that can be read of a namespace, as plain values. */
function everything(flows: NamespaceFlows): unknown {
  return {
    frames: [flows.frames, flows.bytes, flows.framesWithoutIp, flows.strayFragments],
    flows: allFlows(flows).map((flow) => {
      const tracker = flows.trackerOf(flow.slot);
      return {
        ...flow,
        extra: flows.extraOf(flow.slot),
        protocolRead: tracker?.protocol,
        exchanges: tracker === undefined ? [] : plain(tracker.exchanges),
        tls: tracker?.tls,
        bursts: tracker?.timeline?.bursts,
      };
    }),
  };
}

const linkTypesOf = ({ interfaces }: FrameSource) => Int32Array.from(interfaces, ({ linkType }) => linkType);

/** Reads a source twice at once: in batches, as the pipeline does, and frame by frame through the decoder. */
function bothWays(source: FrameSource, batchSize = LANES): [NamespaceFlows, NamespaceFlows] {
  const batched = new NamespaceFlows({ follow: 'all' });
  const single = new NamespaceFlows({ follow: 'all' });
  const packet = new Packet();
  for (let batch = source.next(); batch !== undefined; batch = source.next()) {
    const linkTypes = linkTypesOf(source);
    for (let from = 0; from < batch.count; from += batchSize)
      batched.observeFrames(batch, from, Math.min(batchSize, batch.count - from), linkTypes);
    const { bytes, view, offset, capturedLength, wireLength, timeNs, interfaceId } = batch;
    for (let i = 0; i < batch.count; i++) {
      decodeFrame(packet, linkTypes[interfaceId[i]!]!, bytes, view, offset[i]!, capturedLength[i]!, wireLength[i]!, timeNs[i]!);
      single.observe(packet, interfaceId[i]!);
    }
  }
  batched.finish();
  single.finish();
  return [batched, single];
}

for (const name of readdirSync('captures').sort())
  if (statSync(join('captures', name)).isDirectory())
    test(`captures/${name}: reading in batches comes to the same as decoding each frame`, () => {
      let flows = 0;
      for (const path of expandRecording(join('captures', name))) {
        const input = openInput(path);
        assert.ok(input.kind === 'bundle');
        for (const entry of input.bundle.manifest.namespaces)
          for (const { path: file } of snapshotsOf(entry, 'packets')) {
            const source = file === undefined ? undefined : input.bundle.openPackets(file);
            if (source === undefined) continue;
            const [batched, single] = bothWays(source, 1 + (entry.path.length % LANES));
            assert.deepEqual(everything(batched), everything(single));
            flows += batched.table.count;
          }
        input.bundle.close();
      }
      assert.ok(flows > 0);
    });

/** Frames of every kind, over few tuples, so that flows meet. */
const anyFrame = fc
  .record({
    src: fc.constantFrom(CLIENT, SERVER, '127.0.0.1', '10.96.0.50'),
    dst: fc.constantFrom(CLIENT, SERVER, '127.0.0.1', '10.96.0.50'),
    sport: fc.constantFrom(53, 80, 15_001, 40_000),
    dport: fc.constantFrom(53, 80, 15_001, 40_000),
    seq: fc.constantFrom(0, 1, 100, 101, 118, 0xffff_ffff),
    ack: fc.constantFrom(0, 1, 100, 101, 118),
    flags: fc.constantFrom(0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14),
    payload: fc.constantFrom('', 'GET / HTTP/1.1\r\n\r\n', 'HTTP/1.1 204 No\r\n\r\n', '\x16\x03\x01\x00\x01\x01', 'x'),
    kind: fc.constantFrom(
      'tcp',
      'tcp',
      'tcp',
      'tcp',
      'udp',
      'dns',
      'sctp',
      'icmp',
      'fragment',
      'options',
      'v6',
      'v6-extension',
      'vlan',
      'cut',
      'padded',
    ),
    ifindex: fc.constantFrom(1, 2),
    packetType: fc.constantFrom(0, 4),
    cut: fc.nat(60),
    later: fc.constantFrom(0, 1e6, 1e9, 40e9),
  })
  .map(({ src, dst, sport, dport, seq, ack, flags, payload, kind, ifindex, packetType, cut, later }) => {
    const segment = tcp({ src: sport, dst: dport, seq, ack, flags }, text(payload));
    const v4 = (protocol: number, rest: Bytes, more = {}) => ipv4({ protocol, src, dst, ...more }, rest);
    const v6 = { src: `fd00::${src.length}`, dst: dst === '127.0.0.1' ? '::1' : `fd00::${dst.length}` };
    const packets: { [kind: string]: () => [etherType: number, packet: Bytes] } = {
      tcp: () => [ETHERTYPE.ipv4, v4(PROTOCOL.tcp, segment)],
      cut: () => [ETHERTYPE.ipv4, v4(PROTOCOL.tcp, segment).slice(0, cut)],
      padded: () => [ETHERTYPE.ipv4, [...v4(PROTOCOL.tcp, segment), 0, 0, 0, 0]],
      udp: () => [ETHERTYPE.ipv4, v4(PROTOCOL.udp, udp(sport, dport, text(payload)))],
      dns: () => [
        ETHERTYPE.ipv4,
        v4(PROTOCOL.udp, udp(sport, dport, dns(seq & 1, sport === 53 ? 0x8180 : 0x0100, 'a.test', sport === 53))),
      ],
      sctp: () => [ETHERTYPE.ipv4, v4(PROTOCOL.sctp, sctp(sport, dport, []))],
      icmp: () => [ETHERTYPE.ipv4, v4(PROTOCOL.icmp, icmp(3, 1, ipv4({ protocol: PROTOCOL.tcp, src: dst, dst: src }, segment)))],
      fragment: () => [ETHERTYPE.ipv4, v4(PROTOCOL.tcp, segment, { id: 5, more: true, offset: seq === 0 ? 0 : 24 })],
      options: () => [ETHERTYPE.ipv4, v4(PROTOCOL.tcp, segment, { options: [1, 1, 1, 0] })],
      v6: () => [ETHERTYPE.ipv6, ipv6({ next: PROTOCOL.tcp, ...v6 }, segment)],
      'v6-extension': () => [ETHERTYPE.ipv6, ipv6({ next: PROTOCOL.dstopts, ...v6 }, extension(PROTOCOL.tcp, 0, segment))],
      vlan: () => [ETHERTYPE.vlan, vlan(7, ETHERTYPE.ipv4, v4(PROTOCOL.tcp, segment))],
    };
    const [etherType, packet] = packets[kind]!();
    return { ethernet: ethernet(etherType, packet), cooked: sll2(etherType, packet, ifindex, packetType), later };
  });

test('any frames, on Ethernet or cooked: reading in batches comes to the same as decoding each frame', () => {
  fc.assert(
    fc.property(fc.array(anyFrame, { minLength: 1, maxLength: 150 }), fc.boolean(), (frames, cooked) => {
      const data = frames.map((frame) => Uint8Array.from(cooked ? frame.cooked : frame.ethernet));
      const bytes = new Uint8Array(data.reduce((sum, { length }) => sum + length, 0) + 8);
      const batch = {
        bytes,
        view: new DataView(bytes.buffer),
        count: data.length,
        offset: new Int32Array(data.length),
        capturedLength: Int32Array.from(data, ({ length }) => length),
        wireLength: Int32Array.from(data, ({ length }, i) => length + (i % 5 === 0 ? 3 : 0)),
        timeNs: new Float64Array(data.length),
        interfaceId: new Int32Array(data.length),
      };
      let at = 3;
      let now = 1e9;
      for (const [i, frame] of data.entries()) {
        bytes.set(frame, at);
        batch.offset[i] = at;
        at += frame.length;
        batch.timeNs[i] = now += frames[i]!.later;
      }
      const batches = [batch];
      const source: FrameSource = {
        base: { epochSeconds: 0 },
        interfaces: [{ linkType: cooked ? 276 : 1, snapLength: 0 }],
        next: () => batches.shift(),
        losses: [],
        malformed: false,
        close: () => {},
      };
      const [batched, single] = bothWays(source);
      assert.deepEqual(everything(batched), everything(single));
    }),
    { seed: 11, numRuns: 400 },
  );
});
