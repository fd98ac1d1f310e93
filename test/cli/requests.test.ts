import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { PathRecord } from '../../src/record/record.ts';
import { CLIENT, ETHERTYPE, ethernet, ipv4, PROTOCOL, SERVER, tcp } from '../decode/frames.ts';
import { type Saying, segments } from '../flow/conversation.ts';
import { needsReference, referencePath } from '../reference.ts';
import { writePcap } from '../source/write-pcap.ts';
import { run } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'sidetrace-requests-'));
after(() => rmSync(folder, { recursive: true }));

function paths(capture: string, ...flags: string[]): PathRecord[] {
  const { code, out } = run(['replay', capture, '-o', 'json', ...flags]);
  assert.equal(code, 0);
  return out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter(({ type }) => type === 'path');
}

/** `GET example.org/path 200`, a line a request. */
function requests(capture: string, ...flags: string[]): string[] {
  return paths(capture, ...flags).flatMap(({ of, request }) =>
    of === 'request' ? [`${request!.method} ${request!.authority ?? '-'}${request!.path} ${request!.status ?? '-'}`] : [],
  );
}

const captures: [name: string, requests: string[]][] = [
  // The length of the body claims the rest of the connection.
  ['http_261_variant-02-cl_uint64max.pcap', ['POST target/ -']],
  ['http_261_variant-10-multi_value_te.pcap', ['POST target/ -']],
  // Four words in the request line: that is none.
  ['http_connect-with-smtp.pcap', []],
  ['http_cooper-grill-dvwa.pcapng', new Array(3).fill('GET 192.168.111.154/dvwa/vulnerabilities/sqli/?… 200')],
  ['http_entity_gap2.pcap', ['GET bro.org/download/CHANGES.bro-aux.txt 200']],
  ['http_get_nosyn.pcap', ['GET bro.org/download/CHANGES.bro-aux.txt 200']],
  ['http_http-desync-request-response-5.pcap', new Array(5).fill('GET localhost:8080/ 200')],
  ['http_http-lower-case.pcap', ['GET 146.190.62.39/index.html -']],
  ['http_interleaved-http-entity.pcap', ['POST interleave.me/ 200']],
  ['http_multipart-form-data.pcap', ['POST localhost:8000/ -']],
  ['http_post.pcap', ['POST httpbin.org/post 200']],
  ['http_testmyids.pcap', ['GET testmyids.com/ 200']],
  [
    'http_zero-length-bodies-with-drops.pcap',
    [302, 200, 302, 200, 200, 200, 200].map((status) => `GET 140cc.v.fwmrm.net/ad/l/1?… ${status}`),
  ],
];
for (const [name, expected] of captures)
  test(
    `replay --requests of ${name} tells the requests in it, which nothing else asks for`,
    needsReference('captures', 'zeek', name),
    () => {
      const capture = referencePath('captures', 'zeek', name)!;
      assert.deepEqual(requests(capture, '--requests'), expected);
      assert.deepEqual(paths(capture), []);
    },
  );

const sayings: Saying[] = [
  { from: 'client', data: 'GET /cart?card=4111 HTTP/1.1\r\nHost: shop.example\r\nX-Request-Id: r-1\r\n\r\n' },
  { from: 'server', data: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok' },
  { from: 'client', data: 'POST /order HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nall' },
  { from: 'server', data: 'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n' },
];

/** A capture of one connection, a millisecond between question and answer. */
function conversation(): string {
  const path = join(folder, 'shop.pcap');
  const records = segments(sayings).map(({ direction, packet }) => {
    const { seq, ack, tcpFlags: flags, bytes, timeNs } = packet;
    const [src, dst] = direction === 0 ? [40_000, 80] : [80, 40_000];
    const ends = direction === 0 ? { src: CLIENT, dst: SERVER } : { src: SERVER, dst: CLIENT };
    const segment = tcp({ src, dst, seq, ack, flags }, [...bytes]);
    const data = Uint8Array.from(ethernet(ETHERTYPE.ipv4, ipv4({ protocol: PROTOCOL.tcp, ...ends }, segment)));
    return { seconds: 1_795_000_000, fraction: timeNs / 1000, data };
  });
  writeFileSync(path, writePcap({ records }));
  return path;
}

test('replay --requests gives each request of a connection as a path of its own, with its status and its time', () => {
  const capture = conversation();
  assert.deepEqual(requests(capture, '--requests'), ['GET shop.example/cart?… 200', 'POST shop.example/order 503']);
  assert.deepEqual(requests(capture, '--requests', '--no-redact'), ['GET shop.example/cart?card=4111 200', 'POST shop.example/order 503']);
  const [first, second] = paths(capture, '--requests');
  assert.deepEqual(first!.latency, [{ leg: 0, ms: 1, evidence: 'observed' }]);
  assert.equal(first!.request!.id, 'r-1');
  const [flow] = first!.legs.map((leg) => leg.flow);
  assert.deepEqual(
    [...first!.legs, ...second!.legs].map((leg) => [leg.flow, leg.seq]),
    [
      [flow, 0x7fff_fff1],
      [flow, 0x7fff_fff1 + 71],
    ],
  );
  assert.notEqual(first!.id, second!.id);
  assert.deepEqual(requests(capture, '--requests', '--http-status', '5+'), ['POST shop.example/order 503']);
  assert.deepEqual(paths(capture), []);
});

test('a person reads the requests of a bare capture', () => {
  const { out } = run(['replay', conversation(), '--requests']);
  assert.match(out, /POST shop\.example\/order → 503 in 1\.00? ms/);
  assert.match(out, /rule {6}unknown \(unavailable: no-rules\)/);
});
