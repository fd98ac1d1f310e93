import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TCP_ACK, TCP_RST, TCP_SYN } from '../../src/decode/packet.ts';
import { type ConnectionProtocol, ConnectionTracker } from '../../src/flow/exchange.ts';
import { bytesOf, follow, lines, type Saying, segments, track } from './conversation.ts';

const HELLO = `\x16\x03\x01\x00\x05\x01\x00\x00\x01x`;
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

test('the protocol is that of the first bytes, in whatever segments they come', () => {
  const table: [name: string, sayings: Saying[], expected: ConnectionProtocol][] = [
    ['nothing', [], 'none'],
    ['HTTP/1', [{ from: 'client', data: 'GET / HTTP/1.1\r\n\r\n' }], 'http1'],
    ['HTTP/1 with a method of its own', [{ from: 'client', data: 'BREW /pot HTTP/1.1\r\n\r\n' }], 'http1'],
    ['HTTP/1 after an empty line', [{ from: 'client', data: '\r\nGET / HTTP/1.1\r\n\r\n' }], 'http1'],
    ['HTTP/2', [{ from: 'client', data: PREFACE }], 'http2'],
    ['TLS', [{ from: 'client', data: HELLO }], 'tls'],
    [
      'a greeting',
      [
        { from: 'server', data: '220 ready\r\n' },
        { from: 'client', data: 'EHLO x\r\n' },
      ],
      'server-first',
    ],
    ['a line that is no request', [{ from: 'client', data: 'SET key value\r\n' }], 'other'],
    ['a request of HTTP/0.9', [{ from: 'client', data: 'GET /\r\n' }], 'other'],
    ['RESP', [{ from: 'client', data: '*1\r\n$4\r\nPING\r\n' }], 'other'],
    ['an unfinished request line', [{ from: 'client', data: 'GET /index.ht' }], 'http1'],
    ['an unfinished something', [{ from: 'client', data: 'HELLO' }], 'other'],
    ['an unfinished preface', [{ from: 'client', data: 'PRI * HTT' }], 'http2'],
    [
      'an answer to a few bytes',
      [
        { from: 'client', data: 'GE' },
        { from: 'server', data: 'what?' },
      ],
      'other',
    ],
    ['TLS alert first', [{ from: 'client', data: '\x15\x03\x01\x00\x02\x02\x28' }], 'other'],
  ];
  for (const [name, sayings, expected] of table)
    for (const length of [1, 3, 1000])
      assert.equal(follow(sayings, { segment: () => length }).protocol, expected, `${name}, segments of ${length}`);
});

test('every byte of another protocol is in the timeline', () => {
  const tracker = follow([
    { from: 'client', data: 'hello\n' },
    { from: 'server', data: 'hello yourself\n' },
    { from: 'client', data: 'bye\n' },
  ]);
  assert.deepEqual(
    tracker.timeline!.bursts.map(({ direction, startNs, bytes }) => [direction, startNs, bytes]),
    [
      [0, 1_000_000, 6],
      [1, 2_000_000, 15],
      [0, 3_000_000, 4],
    ],
  );
  assert.deepEqual(tracker.timeline!.total, [10, 15]);
});

test('the first bytes may be cut by the snapshot length', () => {
  const table: [data: string, snap: number, expected: ConnectionProtocol][] = [
    ['GET /a HTTP/1.1\r\nHost: x\r\n\r\n', 6, 'http1'],
    ['GET /a HTTP/1.1\r\nHost: x\r\n\r\n', 3, 'other'],
    [HELLO, 5, 'tls'],
    [PREFACE, 14, 'http2'],
    ['anything', 0, 'unknown'],
  ];
  for (const [data, snap, expected] of table)
    assert.equal(follow([{ from: 'client', data }], { snap }).protocol, expected, `${JSON.stringify(data)} at ${snap}`);
});

test('a connection whose SYN was told beforehand is not midstream, and its lost beginning is noticed', () => {
  const sent = segments([{ from: 'client', data: 'GET /a HTTP/1.1\r\n\r\n' }], { midstream: true, open: true, isn: [101, 201] });
  const tracker = new ConnectionTracker();
  tracker.begin(0, 100);
  tracker.begin(1, 200);
  for (const { direction, packet } of sent) tracker.observe(direction, packet);
  assert.deepEqual([tracker.midstream, tracker.protocol, tracker.exchanges.length], [false, 'http1', 1]);
  const late = new ConnectionTracker();
  late.begin(0, 50);
  for (const { direction, packet } of sent) late.observe(direction, packet);
  late.close();
  assert.deepEqual([late.missingBytes, lines(late.exchanges)], [50, ['GET /a 0 > ?']]);
});

test('data on the SYN is the first data', () => {
  const bytes = bytesOf('GET /fast HTTP/1.1\r\n\r\n');
  const tracker = new ConnectionTracker();
  const syn = {
    timeNs: 1,
    seq: 99,
    ack: 0,
    tcpFlags: TCP_SYN,
    bytes,
    payloadOffset: 0,
    payloadCaptured: bytes.length,
    payloadLength: bytes.length,
  };
  tracker.observe(0, syn);
  assert.deepEqual(lines(tracker.exchanges), ['GET /fast 0 > ?']);
});

test('a reset ends everything', () => {
  const sent = segments([{ from: 'client', data: 'GET /a HTTP/1.1\r\n\r\n' }], { open: true });
  const tracker = new ConnectionTracker();
  for (const { direction, packet } of sent) tracker.observe(direction, packet);
  assert.equal(tracker.exchanges[0]!.done, false);
  tracker.observe(1, { ...sent.at(-1)!.packet, seq: 0, tcpFlags: TCP_RST | TCP_ACK, payloadLength: 0, payloadCaptured: 0 });
  assert.deepEqual([tracker.exchanges[0]!.done, tracker.exchanges[0]!.complete], [true, false]);
});

test('half of a connection is followed as well', () => {
  const sayings: Saying[] = [
    { from: 'client', data: 'GET /a HTTP/1.1\r\n\r\n' },
    { from: 'server', data: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok' },
    { from: 'client', data: 'GET /b HTTP/1.1\r\n\r\n' },
    { from: 'server', data: 'HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n' },
  ];
  const sent = segments(sayings);
  assert.deepEqual(lines(track(sent.filter(({ direction }) => direction === 0)).exchanges), ['GET /a 0 > ?', 'GET /b 0 > ?']);
  assert.deepEqual(lines(track(sent.filter(({ direction }) => direction === 1)).exchanges), ['? > 200 2', '? > 404 0']);
});

test('what all connections may hold together is bounded by their budget, and given back', () => {
  const budget = { left: 3000 };
  const trackers = Array.from({ length: 10 }, () => new ConnectionTracker(budget));
  for (const tracker of trackers)
    for (const { direction, packet } of segments([{ from: 'client', data: 'GET /a HTTP/1.1\r\nA: b\r\n' }], {
      open: true,
      segment: () => 20,
    }))
      tracker.observe(direction, packet);
  assert.ok(budget.left >= 0 && budget.left < 3000);
  for (const tracker of trackers) tracker.close();
  assert.equal(budget.left, 3000);
  assert.ok(trackers.every((tracker) => lines(tracker.exchanges)[0] === 'GET /a ? > ?'));
});
