/** The two one-way wire flows of a connection that was redirected in OUTPUT: found by what NAT leaves alone, never by ports. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IPPROTO_UDP } from '../../src/decode/packet.ts';
import { type Flow, isAnswerHalf, readFlow } from '../../src/flow/flow.ts';
import { NamespaceFlows } from '../../src/flow/namespace-flows.ts';
import { formatEndpoint } from '../../src/net/address.ts';
import { packetOf, type Shown } from './packets.ts';

const POD = '10.244.1.10';
const PROXY = '127.0.0.1:15001';
const VIP = '10.96.0.50:80';

function observe(packets: readonly Shown[]): NamespaceFlows {
  const flows = new NamespaceFlows({ follow: 'all' });
  for (const shown of packets) flows.observe(packetOf({ ifindex: 1, ...shown }), 0);
  flows.finish();
  return flows;
}

/** All connections, a redirected one once: `A > B` or `A > B (asked C from D)`. */
function connections({ table }: NamespaceFlows): Flow[] {
  const found: Flow[] = [];
  for (let slot = 0; slot < table.count; slot++) if (!isAnswerHalf(table, slot)) found.push(readFlow(table, slot));
  return found;
}

function line({ source, destination, answered }: Flow): string {
  const wire = `${formatEndpoint(source.ip, source.port)} > ${formatEndpoint(destination.ip, destination.port)}`;
  return answered === undefined
    ? wire
    : `${wire} (asked ${formatEndpoint(answered.by.ip, answered.by.port)} from ${formatEndpoint(answered.to.ip, answered.to.port)})`;
}

const lines = (packets: readonly Shown[]) => connections(observe(packets)).map(line);

/** A redirected connection as lo shows it. */
function redirected({
  port = 41_000 as number,
  wirePort = port as number,
  asked = VIP,
  isn = 1000,
  theirs = 9000,
  ms = 0,
  pod = POD,
  proxy = PROXY,
}): Shown[] {
  const question = { from: formatEndpoint(pod, wirePort), to: proxy };
  const answer = { from: asked, to: formatEndpoint(pod, port) };
  return [
    { ...question, ms, flags: 'S', seq: isn },
    { ...answer, ms: ms + 1, flags: 'SA', seq: theirs, ack: isn + 1 },
    { ...question, ms: ms + 2, flags: 'A', seq: isn + 1, ack: theirs + 1 },
    { ...question, ms: ms + 3, flags: 'PA', seq: isn + 1, ack: theirs + 1, payload: 'GET / HTTP/1.1\r\nHost: shop\r\n\r\n' },
    { ...answer, ms: ms + 4, flags: 'PA', seq: theirs + 1, ack: isn + 31, payload: 'HTTP/1.1 204 No Content\r\n\r\n' },
    { ...question, ms: ms + 5, flags: 'FA', seq: isn + 31, ack: theirs + 28 },
    { ...answer, ms: ms + 6, flags: 'FA', seq: theirs + 28, ack: isn + 32 },
    { ...question, ms: ms + 7, flags: 'A', seq: isn + 32, ack: theirs + 29 },
  ];
}

test('the SYN/ACK that acknowledges a SYN to loopback is its answer: one connection, one set of counters, one conversation', () => {
  const flows = observe(redirected({}));
  const [flow, ...others] = connections(flows);
  assert.deepEqual(others, []);
  assert.equal(line(flow!), `${POD}:41000 > ${PROXY} (asked ${VIP} from ${POD}:41000)`);
  assert.deepEqual(
    [
      flow!.state,
      flow!.midstream,
      flow!.packetsToDestination,
      flow!.packetsToSource,
      flow!.tcp?.isnToDestination,
      flow!.tcp?.isnToSource,
      flow!.tcp?.rttMs,
    ],
    ['closed', false, 5, 3, 1000, 9000, 2],
  );
  const tracker = flows.trackerOf(flow!.slot);
  assert.equal(tracker, flows.trackerOf(flow!.answerSlot!));
  assert.deepEqual([tracker?.exchanges[0]?.request?.authority, tracker?.exchanges[0]?.response?.status], ['shop', 204]);
});

test('on a collision of ports the kernel rewrites the source port: the answers go to another port than the questions come from', () => {
  const first = redirected({ port: 45_000, isn: 1000, theirs: 5000 });
  const second = redirected({ port: 45_000, wirePort: 55_763, asked: '10.244.1.20:9080', isn: 70_000, theirs: 80_000 });
  const mixed = first.flatMap((packet, i) => [packet, second[i]!]);
  assert.deepEqual(lines(mixed), [
    `${POD}:45000 > ${PROXY} (asked ${VIP} from ${POD}:45000)`,
    `${POD}:55763 > ${PROXY} (asked 10.244.1.20:9080 from ${POD}:45000)`,
  ]);
});

test('equal ports join nothing: the answer has to acknowledge the SYN', () => {
  const [syn] = redirected({ isn: 1000 });
  const [, synAck] = redirected({ isn: 777_000 });
  const found = observe([syn!, synAck!]);
  assert.deepEqual(
    connections(found).map(({ answered }) => answered),
    [undefined, undefined],
  );
});

test('an acknowledgement that fits by chance but goes to another host joins nothing', () => {
  const [syn] = redirected({ isn: 1000 });
  const [, synAck] = redirected({ isn: 1000, pod: '10.244.1.99' });
  assert.deepEqual(
    connections(observe([syn!, synAck!])).map(({ answered }) => answered),
    [undefined, undefined],
  );
});

test('a dead proxy: the RST comes in the name of whom the application asked', () => {
  const question = { from: `${POD}:41000`, to: PROXY };
  const [flow, ...others] = connections(
    observe([
      { ...question, flags: 'S', seq: 1000 },
      { from: VIP, to: `${POD}:41000`, ms: 1, flags: 'RA', seq: 0, ack: 1001 },
    ]),
  );
  assert.deepEqual(others, []);
  assert.deepEqual([flow!.state, flow!.answered?.by], ['refused', { ip: '10.96.0.50', port: 80 }]);
});

test('a self call: the answer half looks like the answer of a direct call', () => {
  assert.deepEqual(lines(redirected({ asked: `${POD}:9080`, proxy: '127.0.0.1:15006', port: 49_616 })), [
    `${POD}:49616 > 127.0.0.1:15006 (asked ${POD}:9080 from ${POD}:49616)`,
  ]);
});

test('IPv6 is redirected to ::1', () => {
  assert.deepEqual(lines(redirected({ pod: 'fd00::10', proxy: '[::1]:15001', asked: '[fd00::20]:9081' })), [
    '[fd00::10]:41000 > [::1]:15001 (asked [fd00::20]:9081 from [fd00::10]:41000)',
  ]);
});

test('a call from loopback to loopback has no halves', () => {
  const call = redirected({ pod: '127.0.0.1', proxy: '127.0.0.1:8080', asked: '127.0.0.1:8080' });
  assert.deepEqual(lines(call), ['127.0.0.1:41000 > 127.0.0.1:8080']);
});

test('a connection to loopback from the own address that was not redirected has both directions in one flow', () => {
  assert.deepEqual(lines(redirected({ proxy: '127.0.0.1:8080', asked: '127.0.0.1:8080' })), [`${POD}:41000 > 127.0.0.1:8080`]);
});

test('joined in the middle: both sides acknowledge what the other sent last, whoever speaks first', () => {
  const question = { from: `${POD}:41000`, to: PROXY };
  const answer = { from: VIP, to: `${POD}:41000` };
  const questionFirst: Shown[] = [
    { ...question, ms: 0, flags: 'PA', seq: 2000, ack: 7000, payload: 100 },
    { ...answer, ms: 1, flags: 'A', seq: 7000, ack: 2100 },
  ];
  const answerFirst: Shown[] = [
    { ...answer, ms: 0, flags: 'PA', seq: 7000, ack: 2000, payload: 50 },
    { ...question, ms: 1, flags: 'A', seq: 2000, ack: 7050 },
    { ...answer, ms: 2, flags: 'PA', seq: 7050, ack: 2000, payload: 50 },
    { ...question, ms: 3, flags: 'A', seq: 2000, ack: 7100 },
  ];
  for (const packets of [questionFirst, answerFirst])
    assert.deepEqual(
      connections(observe(packets)).map((flow) => [line(flow), flow.midstream]),
      [[`${POD}:41000 > ${PROXY} (asked ${VIP} from ${POD}:41000)`, true]],
    );
});

test('joined in the middle: two connections at once are kept apart by their numbers, and equal ports with other numbers are not joined', () => {
  const at = (port: number, seq: number, ack: number, asked: string): Shown[] => [
    { from: `${POD}:${port}`, to: PROXY, flags: 'PA', seq, ack, payload: 10 },
    { from: asked, to: `${POD}:41000`, flags: 'A', seq: ack, ack: seq + 10 },
  ];
  const [q1, a1] = at(41_000, 2000, 7000, VIP);
  const [q2, a2] = at(55_000, 90_000, 400, '10.96.0.7:80');
  assert.deepEqual(lines([q1!, q2!, a2!, a1!]), [
    `${POD}:41000 > ${PROXY} (asked ${VIP} from ${POD}:41000)`,
    `${POD}:55000 > ${PROXY} (asked 10.96.0.7:80 from ${POD}:41000)`,
  ]);
  const [, other] = at(41_000, 500, 600, VIP);
  assert.equal(
    connections(observe([q1!, other!])).some(({ answered }) => answered !== undefined),
    false,
  );
});

test('any number of redirected connections in any order of packets: every half finds its own', () => {
  const ports = fc.constantFrom(40_000, 40_001);
  const connection = fc.record({
    port: ports,
    wirePort: fc.integer({ min: 1024, max: 65_535 }),
    vip: fc.integer({ min: 1, max: 250 }),
    isn: fc.integer(),
    theirs: fc.integer(),
  });
  fc.assert(
    fc.property(
      fc.uniqueArray(connection, { minLength: 1, maxLength: 12, selector: ({ wirePort }) => wirePort }),
      fc.infiniteStream(fc.nat(1000)),
      (all, choice) => {
        const unique = all.filter(
          ({ vip, port, isn }, i) => all.findIndex((other) => (other.vip === vip && other.port === port) || other.isn === isn) === i,
        );
        const queues = unique.map(({ port, wirePort, vip, isn, theirs }) =>
          redirected({ port, wirePort, asked: `10.96.0.${vip}:80`, isn, theirs }),
        );
        const packets: Shown[] = [];
        while (queues.some((queue) => queue.length > 0)) {
          const open = queues.filter((queue) => queue.length > 0);
          packets.push(open[choice.next().value! % open.length]!.shift()!);
        }
        const told = lines(packets.map((packet, ms) => ({ ...packet, ms })));
        const expected = unique.map(
          ({ port, wirePort, vip }) => `${POD}:${wirePort} > ${PROXY} (asked 10.96.0.${vip}:80 from ${POD}:${port})`,
        );
        assert.deepEqual(told.sort(), expected.sort());
      },
    ),
    { seed: 9, numRuns: 200 },
  );
});

/** A question for `a.test`, or the answer to it. */
function dns(id: number, response: boolean): Uint8Array {
  const name = [1, 97, 4, 116, 101, 115, 116, 0];
  return Uint8Array.from([id >> 8, id & 255, response ? 0x81 : 0x01, response ? 0x80 : 0, 0, 1, 0, 0, 0, 0, 0, 0, ...name, 0, 1, 0, 1]);
}

function asks(id: number, port: number, ms = 0): Shown {
  return { from: `${POD}:${port}`, to: '127.0.0.1:15053', protocol: IPPROTO_UDP, payload: dns(id, false), ms };
}

function answers(id: number, port: number, ms = 1): Shown {
  return { from: '10.96.0.10:53', to: `${POD}:${port}`, protocol: IPPROTO_UDP, payload: dns(id, true), ms };
}

test('DNS over UDP is found by its transaction, and told once', () => {
  const flows = observe([asks(4660, 37_404), answers(4660, 37_404)]);
  const [flow, ...others] = connections(flows);
  assert.deepEqual(others, []);
  assert.equal(line(flow!), `${POD}:37404 > 127.0.0.1:15053 (asked 10.96.0.10:53 from ${POD}:37404)`);
  assert.deepEqual(flows.extraOf(flow!.slot)?.dns, { question: 'a.test', kind: 'A', rcode: 'NOERROR' });
});

test('DNS: another transaction on the same ports is no answer', () => {
  const flows = observe([asks(4660, 37_404), answers(4661, 37_404)]);
  assert.deepEqual(
    connections(flows).map(({ answered }) => answered),
    [undefined, undefined],
  );
});

test('what waits for its answer is bounded: a million SYNs to loopback are not kept', () => {
  const flows = new NamespaceFlows({ follow: 'hello' });
  const syn = packetOf({ from: `${POD}:1`, to: PROXY, flags: 'S', ifindex: 1 });
  for (let i = 0; i < 200_000; i++) {
    syn.seq = i;
    syn.srcPort = i & 0xffff;
    syn.src3 = (syn.src3 & ~0xff) | (i >> 16);
    flows.observe(syn, 0);
  }
  const answer = packetOf({ from: VIP, to: '10.244.1.0:0', flags: 'SA', seq: 1, ack: 1, ifindex: 1 });
  flows.observe(answer, 0);
  assert.equal(readFlow(flows.table, 0).answered, undefined, 'the oldest was given up');
});
