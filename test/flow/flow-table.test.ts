/** The flow table against a naive one, and what TCP tells in it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, type Packet, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../../src/decode/packet.ts';
import { type Flow, readFlow } from '../../src/flow/flow.ts';
import { FlowTable } from '../../src/flow/flow-table.ts';
import { packetOf, type Shown } from './packets.ts';

/** What a flow is, kept as plainly as possible: both directions of a 5-tuple, until something says that another one began. */
interface NaiveFlow {
  readonly a: string;
  readonly b: string;
  packets: [number, number];
  bytes: [number, number];
  flags: [number, number];
  isn: [number | undefined, number | undefined];
  syn: [boolean, boolean];
  synAck: [boolean, boolean];
  spoke: [boolean, boolean];
  firstNs: number;
  lastNs: number;
}

class NaiveTable {
  readonly flows: NaiveFlow[] = [];
  readonly #current = new Map<string, number>();

  observe(shown: Shown, packet: Packet): { slot: number; isNew: boolean } {
    const key = [shown.from, shown.to].sort().join(' ') + packet.protocol;
    const known = this.#current.get(key);
    const slot = known === undefined || this.#isAnother(this.flows[known]!, shown, packet) ? this.#begin(key, shown, packet) : known;
    const flow = this.flows[slot]!;
    const direction = flow.a === shown.from ? 0 : 1;
    flow.packets[direction]++;
    flow.bytes[direction] += packet.ipLength;
    flow.lastNs = Math.max(flow.lastNs, packet.timeNs);
    if (packet.protocol === IPPROTO_TCP) {
      flow.flags[direction] |= packet.tcpFlags;
      flow.spoke[direction] = true;
      if ((packet.tcpFlags & TCP_SYN) !== 0) {
        flow.isn[direction] = packet.seq;
        if ((packet.tcpFlags & TCP_ACK) !== 0) flow.synAck[direction] = true;
        else flow.syn[direction] = true;
      }
    }
    return { slot, isNew: slot !== known };
  }

  #begin(key: string, shown: Shown, packet: Packet): number {
    const slot = this.flows.length;
    this.#current.set(key, slot);
    this.flows.push({
      a: shown.from,
      b: shown.to,
      packets: [0, 0],
      bytes: [0, 0],
      flags: [0, 0],
      isn: [undefined, undefined],
      syn: [false, false],
      synAck: [false, false],
      spoke: [false, false],
      firstNs: packet.timeNs,
      lastNs: packet.timeNs,
    });
    return slot;
  }

  #isAnother(flow: NaiveFlow, shown: Shown, packet: Packet): boolean {
    const direction = flow.a === shown.from ? 0 : 1;
    if (packet.protocol === IPPROTO_TCP) {
      if ((packet.tcpFlags & TCP_SYN) === 0) return false;
      const isn = flow.isn[direction];
      if ((packet.tcpFlags & TCP_ACK) === 0) {
        if (isn !== undefined) return isn !== packet.seq;
        const [a, b] = flow.flags;
        const over = ((a | b) & TCP_RST) !== 0 || (a & b & TCP_FIN) !== 0;
        return flow.spoke[direction] || flow.synAck.includes(true) || over;
      }
      if (flow.syn[1 - direction]) return false;
      return isn !== undefined ? isn !== packet.seq : flow.spoke[direction];
    }
    const idleS = (packet.timeNs - flow.lastNs) / 1e9;
    if (packet.protocol === IPPROTO_UDP) return idleS > (flow.packets[1] > 0 ? 120 : 30);
    return idleS > 30;
  }
}

const address = fc.constantFrom('10.0.0.1', '10.0.0.2', '192.0.2.200', '::a00:1', 'fd00::1', '2001:db8:ffff:ffff:8000::1');
const port = fc.constantFrom(1, 80, 443, 32_768, 65_535);
const step = fc.record({
  from: address,
  to: address,
  fromPort: port,
  toPort: port,
  protocol: fc.constantFrom(IPPROTO_TCP, IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, 132),
  flags: fc.constantFrom('S', 'SA', 'A', 'PA', 'FA', 'R', 'RA', ''),
  seq: fc.constantFrom(0, 1, 1000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff),
  payload: fc.constantFrom(0, 0, 1, 1460),
  laterS: fc.constantFrom(0, 0.001, 1, 31, 121),
});

function endOf(ip: string, at: number): string {
  return ip.includes(':') ? `[${ip}]:${at}` : `${ip}:${at}`;
}

/** The flow as its first sender and the other side see it, whichever of them is taken for the opener. */
function bySender(flow: Flow, first: string): unknown[] {
  const turned = endOf(flow.source.ip, flow.source.port) !== first;
  const pairs: [number, number][] = [
    [flow.packetsToDestination, flow.packetsToSource],
    [flow.bytesToDestination, flow.bytesToSource],
    [flow.tcp?.flagsToDestination ?? 0, flow.tcp?.flagsToSource ?? 0],
  ];
  return pairs.map(([there, back]) => (turned ? [back, there] : [there, back]));
}

test('any sequence of packets is counted as a naive table counts it: flows, directions, packets, bytes, flags, times', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 200 }), (steps) => {
      const table = new FlowTable();
      const naive = new NaiveTable();
      let ms = 0;
      for (const { from, to, fromPort, toPort, protocol, flags, seq, payload, laterS } of steps) {
        if (from.includes(':') !== to.includes(':') || (from === to && fromPort === toPort)) continue;
        ms += laterS * 1000;
        const shown: Shown = { from: endOf(from, fromPort), to: endOf(to, toPort), protocol, flags, seq, payload, ms };
        const packet = packetOf(shown);
        const expected = naive.observe(shown, packet);
        const slot = table.observe(packet, 0);
        assert.deepEqual({ slot, isNew: table.isNew }, expected);
        assert.equal(table.direction, naive.flows[slot]!.a === shown.from ? 0 : 1);
      }
      assert.equal(table.count, naive.flows.length);
      for (const [slot, expected] of naive.flows.entries()) {
        const flow = readFlow(table, slot);
        assert.deepEqual(bySender(flow, expected.a), [expected.packets, expected.bytes, flow.tcp === undefined ? [0, 0] : expected.flags]);
        assert.deepEqual([flow.firstNs, flow.lastNs], [expected.firstNs, expected.lastNs]);
        assert.equal(flow.midstream, flow.tcp !== undefined && !expected.syn.includes(true));
      }
    }),
    { seed: 7, numRuns: 300 },
  );
});

test('both directions of a packet find the same slot, IPv4 and IPv6, whatever the seed', () => {
  const word = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff });
  const end = fc.record({ words: fc.tuple(word, word, word, word), port: fc.integer({ min: 0, max: 65_535 }) });
  fc.assert(
    fc.property(end, end, fc.constantFrom(4, 6), fc.integer(), fc.constantFrom(6, 17, 132, 89), (a, b, version, seed, protocol) => {
      const make = (from: typeof a, to: typeof a): Packet => {
        const packet = packetOf({ from: '10.0.0.1:1', to: '10.0.0.2:2', protocol, flags: 'A' });
        packet.ipVersion = version;
        const own = version === 4 ? [0, 0, 0, from.words[3]] : from.words;
        const other = version === 4 ? [0, 0, 0, to.words[3]] : to.words;
        [packet.src0, packet.src1, packet.src2, packet.src3] = own as [number, number, number, number];
        [packet.dst0, packet.dst1, packet.dst2, packet.dst3] = other as [number, number, number, number];
        packet.srcPort = from.port;
        packet.dstPort = to.port;
        return packet;
      };
      const table = new FlowTable(seed);
      assert.equal(table.find(make(a, b)), -1);
      const slot = table.observe(make(a, b), 0);
      assert.equal(table.find(make(a, b)), slot);
      assert.equal(table.direction, 0);
      assert.equal(table.observe(make(b, a), 0), slot);
      const same = JSON.stringify(make(a, b)) === JSON.stringify(make(b, a));
      assert.equal(table.direction, same ? 0 : 1);
      assert.equal(table.count, 1);
    }),
    { seed: 8, numRuns: 500 },
  );
});

test('the table grows: 50 000 flows, each found again from either side', () => {
  const table = new FlowTable();
  const at = (i: number, reply: boolean): Packet => {
    const client = `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}:${1024 + (i % 60_000)}`;
    return packetOf(reply ? { from: '192.0.2.1:80', to: client, flags: 'A' } : { from: client, to: '192.0.2.1:80', flags: 'A' });
  };
  for (let i = 0; i < 50_000; i++) assert.equal(table.observe(at(i, false), 0), i);
  for (let i = 0; i < 50_000; i += 7) {
    assert.equal(table.find(at(i, true)), i);
    assert.equal(table.direction, 1);
  }
  assert.equal(table.count, 50_000);
  const last = readFlow(table, 49_999);
  assert.deepEqual([last.source.ip, last.destination.port, last.packetsToDestination], ['10.0.195.79', 80, 1]);
});

test('IPv4 10.0.0.1 and IPv6 ::a00:1 have the same last word and are not the same', () => {
  const table = new FlowTable();
  table.observe(packetOf({ from: '10.0.0.1:1', to: '10.0.0.2:2', flags: 'S' }), 0);
  table.observe(packetOf({ from: '[::a00:1]:1', to: '[::a00:2]:2', flags: 'S' }), 0);
  assert.equal(table.count, 2);
  assert.deepEqual(
    [0, 1].map((slot) => readFlow(table, slot).source.ip),
    ['10.0.0.1', '::a00:1'],
  );
});

/** A conversation between C (10.0.0.1:40000) and S (10.0.0.2:80): `C 0 S 100` is what C sends at 0 ms; then seq, ack, payload bytes, window. */
type Line = readonly [from: 'C' | 'S', ms: number, flags: string, seq: number, ack?: number, payload?: number, window?: number];

function conversation(lines: readonly Line[], table = new FlowTable()): Flow {
  let slot = -1;
  for (const [from, ms, flags, seq, ack = 0, payload = 0, window = 1000] of lines) {
    const [a, b] = from === 'C' ? ['10.0.0.1:40000', '10.0.0.2:80'] : ['10.0.0.2:80', '10.0.0.1:40000'];
    slot = table.observe(packetOf({ from: a, to: b, ms, flags, seq, ack, payload, window }), 0);
  }
  return readFlow(table, slot);
}

const HANDSHAKE: readonly Line[] = [
  ['C', 0, 'S', 100],
  ['S', 4, 'SA', 500, 101],
  ['C', 5, 'A', 101, 501],
];

test('the handshake tells the round trip and its whole length', () => {
  const table: [title: string, lines: readonly Line[], rttMs: number | undefined, handshakeMs: number | undefined][] = [
    ['SYN, SYN/ACK, ACK', HANDSHAKE, 5, 5],
    [
      'the SYN was sent twice: the round trip is that of the second',
      [
        ['C', 0, 'S', 100],
        ['C', 1000, 'S', 100],
        ['S', 1004, 'SA', 500, 101],
        ['C', 1005, 'A', 101, 501],
      ],
      5,
      1005,
    ],
    [
      'the SYN was sent again while its answer was on the way: it tells no round trip',
      [
        ['C', 0, 'S', 100],
        ['S', 1004, 'SA', 500, 101],
        ['C', 1005, 'S', 100],
        ['C', 1006, 'A', 101, 501],
      ],
      undefined,
      1006,
    ],
    [
      'the first acknowledgement carries data',
      [
        ['C', 0, 'S', 100],
        ['S', 4, 'SA', 500, 101],
        ['C', 9, 'PA', 101, 501, 10],
      ],
      9,
      9,
    ],
    [
      'no acknowledgement yet',
      [
        ['C', 0, 'S', 100],
        ['S', 4, 'SA', 500, 101],
      ],
      undefined,
      undefined,
    ],
    [
      'the SYN was not seen',
      [
        ['S', 4, 'SA', 500, 101],
        ['C', 5, 'A', 101, 501],
      ],
      undefined,
      undefined,
    ],
    [
      'an acknowledgement that comes before the SYN/ACK ends no handshake',
      [
        ['C', 0, 'S', 100],
        ['C', 1, 'A', 101, 501],
        ['S', 4, 'SA', 500, 101],
      ],
      undefined,
      undefined,
    ],
  ];
  for (const [title, lines, rttMs, handshakeMs] of table) {
    const { tcp } = conversation(lines);
    assert.deepEqual([tcp?.rttMs, tcp?.handshakeMs], [rttMs, handshakeMs], title);
  }
});

test('segments that come again, early, or only to keep the connection alive', () => {
  const table: [title: string, lines: readonly Line[], retransmissions: number, outOfOrder: number, zeroWindows: number][] = [
    [
      'in order',
      [
        ['C', 6, 'PA', 101, 501, 100],
        ['S', 7, 'A', 501, 201],
        ['C', 8, 'PA', 201, 501, 50],
      ],
      0,
      0,
      0,
    ],
    [
      'the same again',
      [
        ['C', 6, 'PA', 101, 501, 100],
        ['C', 210, 'PA', 101, 501, 100],
      ],
      1,
      0,
      0,
    ],
    [
      'the same and more',
      [
        ['C', 6, 'PA', 101, 501, 100],
        ['C', 210, 'PA', 101, 501, 150],
        ['C', 211, 'PA', 251, 501, 10],
      ],
      1,
      0,
      0,
    ],
    [
      'a hole that is filled at once was reordering',
      [
        ['C', 6, 'PA', 201, 501, 100],
        ['C', 7, 'PA', 101, 501, 100],
      ],
      0,
      1,
      0,
    ],
    [
      'a hole that is filled late was loss',
      [
        ['C', 6, 'PA', 201, 501, 100],
        ['C', 206, 'PA', 101, 501, 100],
      ],
      1,
      0,
      0,
    ],
    [
      'a hole that is filled in two pieces',
      [
        ['C', 6, 'PA', 301, 501, 100],
        ['C', 7, 'PA', 101, 501, 100],
        ['C', 8, 'PA', 201, 501, 100],
      ],
      0,
      2,
      0,
    ],
    [
      'a keep-alive of one byte',
      [
        ['C', 6, 'PA', 101, 501, 100],
        ['C', 60_000, 'A', 200, 501, 1],
        ['S', 60_001, 'A', 501, 201],
      ],
      0,
      0,
      0,
    ],
    [
      'a keep-alive without a byte',
      [
        ['C', 60_000, 'A', 100, 501],
        ['S', 60_001, 'A', 501, 101],
      ],
      0,
      0,
      0,
    ],
    [
      'a window of zero, twice',
      [
        ['S', 6, 'A', 501, 101, 0, 0],
        ['S', 7, 'A', 501, 101, 0, 0],
        ['S', 8, 'A', 501, 101, 0, 100],
      ],
      0,
      0,
      2,
    ],
    ['a RST has no window', [['S', 6, 'RA', 501, 101, 0, 0]], 0, 0, 0],
    [
      'FIN again',
      [
        ['C', 6, 'FA', 101, 501],
        ['C', 206, 'FA', 101, 501],
      ],
      1,
      0,
      0,
    ],
    ['across the end of the sequence numbers', [['S', 6, 'A', 501, 101]], 0, 0, 0],
  ];
  for (const [title, lines, retransmissions, outOfOrder, zeroWindows] of table) {
    const { tcp } = conversation([...HANDSHAKE, ...lines]);
    assert.deepEqual([tcp?.retransmissions, tcp?.outOfOrder, tcp?.zeroWindows], [retransmissions, outOfOrder, zeroWindows], title);
  }
  const wrapped = conversation([
    ['C', 0, 'S', 0xffff_ff00],
    ['C', 1, 'PA', 0xffff_ff01, 1, 200],
    ['C', 2, 'PA', 0xffff_ffc9, 1, 200],
    ['C', 3, 'PA', 0x91, 1, 200],
    ['C', 300, 'PA', 0xffff_ffc9, 1, 200],
  ]);
  assert.deepEqual(
    [wrapped.tcp?.retransmissions, wrapped.tcp?.outOfOrder, wrapped.tcp?.nextToDestination],
    [1, 0, 0x159],
    'sequence numbers pass 2^32',
  );
});

test('the initial sequence numbers, and the last ones', () => {
  const { tcp } = conversation([
    ['C', 0, 'S', 0xffff_fffe],
    ['S', 1, 'SA', 0x8000_0000, 0xffff_ffff],
    ['C', 2, 'PA', 0xffff_ffff, 0x8000_0001, 10],
    ['S', 3, 'A', 0x8000_0001, 9],
  ]);
  assert.deepEqual(
    [tcp?.isnToDestination, tcp?.isnToSource, tcp?.nextToDestination, tcp?.nextToSource, tcp?.ackToDestination, tcp?.ackToSource],
    [0xffff_fffe, 0x8000_0000, 9, 0x8000_0001, 0x8000_0001, 9],
  );
});

test('a tuple that is used again is another flow', () => {
  const again: [title: string, lines: readonly Line[], flows: number][] = [
    ['another SYN after the end', [...HANDSHAKE, ['C', 6, 'FA', 101, 501], ['S', 7, 'FA', 501, 102], ['C', 9, 'S', 90_000]], 2],
    ['another SYN without an end: the old connection is gone', [...HANDSHAKE, ['C', 9, 'S', 90_000]], 2],
    [
      'the same SYN again',
      [
        ['C', 0, 'S', 100],
        ['C', 1000, 'S', 100],
        ['C', 3000, 'S', 100],
      ],
      1,
    ],
    [
      'a SYN after bytes of a connection that began before',
      [
        ['C', 0, 'PA', 100, 1, 10],
        ['C', 9, 'S', 90_000],
      ],
      2,
    ],
    [
      'a SYN after a RST of the other side, to a connection that began before',
      [
        ['S', 0, 'RA', 100, 1],
        ['C', 9, 'S', 90_000],
      ],
      2,
    ],
    [
      'a late answer of the connection that ended',
      [...HANDSHAKE, ['C', 6, 'FA', 101, 501], ['S', 7, 'FA', 501, 102], ['C', 8, 'A', 102, 502]],
      1,
    ],
    [
      'the SYN/ACK of the SYN',
      [
        ['C', 0, 'S', 100],
        ['S', 4, 'SA', 500, 101],
        ['S', 1004, 'SA', 500, 101],
      ],
      1,
    ],
    [
      'two SYN/ACKs of two connections whose SYNs went elsewhere',
      [
        ['S', 0, 'SA', 500, 101],
        ['S', 9, 'SA', 7000, 90_001],
      ],
      2,
    ],
    [
      'both sides open at once',
      [
        ['C', 0, 'S', 100],
        ['S', 0, 'S', 500],
        ['C', 1, 'SA', 100, 501],
        ['S', 1, 'SA', 500, 101],
      ],
      1,
    ],
  ];
  for (const [title, lines, flows] of again) {
    const table = new FlowTable();
    conversation(lines, table);
    assert.equal(table.count, flows, title);
  }
});

test('UDP, ICMP and others are over when nothing was said for as long as conntrack keeps them', () => {
  const table: [protocol: number, answered: boolean, idleS: number, flows: number][] = [
    [IPPROTO_UDP, false, 29, 1],
    [IPPROTO_UDP, false, 31, 2],
    [IPPROTO_UDP, true, 119, 1],
    [IPPROTO_UDP, true, 121, 2],
    [IPPROTO_ICMP, true, 29, 1],
    [IPPROTO_ICMP, true, 31, 2],
    [132, false, 31, 2],
  ];
  for (const [protocol, answered, idleS, flows] of table) {
    const flowTable = new FlowTable();
    const ask = (ms: number) => flowTable.observe(packetOf({ from: '10.0.0.1:5', to: '10.0.0.2:5', protocol, ms }), 0);
    ask(0);
    if (answered) flowTable.observe(packetOf({ from: '10.0.0.2:5', to: '10.0.0.1:5', protocol, ms: 0 }), 0);
    ask(idleS * 1000);
    assert.equal(flowTable.count, flows, `${protocol} ${answered} after ${idleS} s`);
  }
});

test('the same packet seen on a second interface is counted, and says nothing new about TCP', () => {
  const table = new FlowTable();
  const lines: readonly Line[] = [...HANDSHAKE, ['C', 6, 'PA', 101, 501, 100]];
  let slot = -1;
  for (const [from, ms, flags, seq, ack = 0, payload = 0] of lines)
    for (const ifindex of [2, 7]) {
      const [a, b] = from === 'C' ? ['10.0.0.1:40000', '10.0.0.2:80'] : ['10.0.0.2:80', '10.0.0.1:40000'];
      slot = table.observe(packetOf({ from: a, to: b, ms, flags, seq, ack, payload, ifindex }), 0);
    }
  const { tcp, packetsToDestination, packetsToSource } = readFlow(table, slot);
  assert.deepEqual([packetsToDestination, packetsToSource, tcp?.retransmissions, tcp?.rttMs], [6, 2, 0, 5]);
});

test('what became of a TCP connection', () => {
  const states: [title: string, lines: readonly Line[], state: string, ended: boolean, midstream: boolean][] = [
    [
      'nobody answered',
      [
        ['C', 0, 'S', 100],
        ['C', 1000, 'S', 100],
      ],
      'unanswered',
      false,
      false,
    ],
    [
      'refused',
      [
        ['C', 0, 'S', 100],
        ['S', 1, 'RA', 0, 101],
      ],
      'refused',
      true,
      false,
    ],
    ['open', HANDSHAKE, 'open', false, false],
    ['open, half closed', [...HANDSHAKE, ['C', 6, 'FA', 101, 501], ['S', 7, 'A', 501, 102]], 'open', false, false],
    ['closed', [...HANDSHAKE, ['C', 6, 'FA', 101, 501], ['S', 7, 'FA', 501, 102], ['C', 8, 'A', 102, 502]], 'closed', true, false],
    ['reset by the server', [...HANDSHAKE, ['S', 6, 'RA', 501, 101]], 'reset', true, false],
    ['reset by the client', [...HANDSHAKE, ['C', 6, 'R', 101]], 'reset', true, false],
    [
      'given up by the client before it was answered',
      [
        ['C', 0, 'S', 100],
        ['C', 50, 'R', 101],
      ],
      'reset',
      true,
      false,
    ],
    ['closed, then reset', [...HANDSHAKE, ['C', 6, 'FA', 101, 501], ['S', 7, 'FA', 501, 102], ['C', 8, 'R', 102]], 'reset', true, false],
    [
      'began before',
      [
        ['C', 6, 'PA', 101, 501, 10],
        ['S', 7, 'A', 501, 111],
      ],
      'open',
      false,
      true,
    ],
    ['began before, and was reset', [['S', 7, 'RA', 501, 111]], 'reset', true, true],
    [
      'began before, and was closed',
      [
        ['C', 6, 'FA', 101, 501],
        ['S', 7, 'FA', 501, 102],
      ],
      'closed',
      true,
      true,
    ],
    [
      'a SYN/ACK without its SYN',
      [
        ['S', 4, 'SA', 500, 101],
        ['C', 5, 'A', 101, 501],
      ],
      'open',
      false,
      true,
    ],
  ];
  for (const [title, lines, state, ended, midstream] of states) {
    const flow = conversation(lines);
    assert.deepEqual([flow.state, flow.ended, flow.midstream], [state, ended, midstream], title);
    assert.deepEqual([flow.source.port, flow.destination.port], [40_000, 80], title);
  }
});

test('who opened it: the SYN says so, or the SYN/ACK; else the smaller port is taken for the server, and it is said that this is a guess', () => {
  const table: [from: string, to: string, flags: string, source: string, openerSeen: boolean][] = [
    ['10.0.0.1:80', '10.0.0.2:40000', 'S', '10.0.0.1', true],
    ['10.0.0.1:80', '10.0.0.2:40000', 'SA', '10.0.0.2', true],
    ['10.0.0.1:40000', '10.0.0.2:80', 'SA', '10.0.0.2', true],
    ['10.0.0.1:80', '10.0.0.2:40000', 'A', '10.0.0.2', false],
    ['10.0.0.1:40000', '10.0.0.2:80', 'A', '10.0.0.1', false],
    ['10.0.0.1:80', '10.0.0.2:80', 'A', '10.0.0.1', false],
  ];
  for (const [from, to, flags, source, openerSeen] of table) {
    const flowTable = new FlowTable();
    const flow = readFlow(flowTable, flowTable.observe(packetOf({ from, to, flags }), 0));
    assert.deepEqual([flow.source.ip, flow.openerSeen], [source, openerSeen], `${from} > ${to} ${flags}`);
  }
});
